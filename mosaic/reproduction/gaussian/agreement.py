"""Agreement of theories with a network along the network's own flow: of eps and of x0hat, by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mosaic.device import limited_threads
from mosaic.interfaces.score import eps_from_denoised
from mosaic.progress import Progress, silent
from mosaic.reproduction.study.rows import THEORY_STEPS
from mosaic.run.plan import Plan
from mosaic.storage.schema import REPRODUCTION_SCHEMA, described
from mosaic.storage.trajectory import open_trajectory

__all__ = ["MEASURES", "THEORIES", "agreement_batch", "agreement_steps", "relative_error"]

THEORIES = ("gaussian", "is", "els")
MEASURES = ("eps_cosine", "eps_error", "denoised_error")


def agreement_steps(times: Sequence[float]) -> list[int]:
    """Steps of a run that are nearest to the times of theories, from noise to data."""
    wanted = [i / THEORY_STEPS for i in range(THEORY_STEPS, 0, -1)]
    return [int(np.abs(np.asarray(times) - time).argmin()) for time in wanted]


def relative_error(predicted: Tensor, reference: Tensor) -> Tensor:
    """Squared error (B,) of a batch (B, C, H, W) over the squared norm of the reference; float64."""
    first, second = predicted.flatten(1).double(), reference.flatten(1).double()
    return (first - second).square().sum(1) / second.square().sum(1)


def agreement_batch(plans: Mapping[str, Plan], network: Path, batch: range, progress: Progress = silent) -> xr.Dataset:
    """Compare theories with the network at the states of a batch of its own flow.

    Parameters
    ----------
    plans : mapping
        Runs of `THEORIES` in the network's steps; only their score models and scales are used.
    network : Path
        The network's run.
    batch : range
        Samples.
    progress : Progress
        Called with the work of the theories.

    Returns
    -------
    xarray.Dataset
        Along (theory, time, sample): `eps_cosine`, the cosine of the theory's eps and the network's; `eps_error` and
        `denoised_error`, the squared error of its eps and of its x0hat over the squared norm of the network's.
    """
    steps, done = agreement_steps(next(iter(plans.values())).times), 0.0
    work = {name: [plan.work(batch)[step] for step in steps] for name, plan in plans.items()}
    total = sum(map(sum, work.values()))
    values = np.empty((len(MEASURES), len(plans), len(steps), len(batch)))
    with open_trajectory(network) as run:
        own = run.isel(sample=slice(batch.start, batch.stop), step=steps).load()
    for number, (name, plan) in enumerate(plans.items()):
        with limited_threads(plan.threads):
            for place, step in enumerate(steps):
                at, level = own.isel(step=place), plan.levels[step]
                x, denoised = (torch.from_numpy(at[each].values) for each in ("state", "denoised"))
                predicted = plan.denoise(x.to(plan.device), step, batch).cpu()
                # In float64: at high noise eps is nearly x.
                pair = [eps_from_denoised(x.double(), each.double(), level) for each in (predicted, denoised)]
                cosine = torch.nn.functional.cosine_similarity(pair[0].flatten(1), pair[1].flatten(1))
                measured = (cosine, relative_error(pair[0], pair[1]), relative_error(predicted, denoised))
                values[:, number, place] = torch.stack(measured).numpy()
                done += work[name][place]
                progress(done, total, plan.unit, f"{name}, t = {plan.times[step]:.2f}")
    agreement = xr.Dataset(
        {name: (("theory", "time", "sample"), each) for name, each in zip(MEASURES, values, strict=True)},
        {"theory": list(plans), "time": own["time"].values, "sample": list(batch)},
    )
    return described(agreement, REPRODUCTION_SCHEMA)
