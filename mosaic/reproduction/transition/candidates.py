"""How many candidates ELS has, effectively, by noise, scale and number of training images; no network is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from mosaic.device import limited_threads
from mosaic.interfaces.dataset import DataSet
from mosaic.progress import Progress, silent
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.transition.halves import HalfExperiment
from mosaic.run.job import job_of
from mosaic.run.plan import Plan
from mosaic.run.work import step_work
from mosaic.sampling.noise import initial_noise
from mosaic.storage.job import FileJob, Part
from mosaic.storage.made_by import made_by
from mosaic.storage.schema import REPRODUCTION_SCHEMA, described

__all__ = ["HELD_OUT", "TIMES", "WINDOWS", "candidates_job", "count_candidates", "windows_for"]

TIMES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
WINDOWS = (1, 3, 5, 7, 9, 11, 13, 17, 21, 25, 31)
HELD_OUT = 8  # images of the other half, whose noisy versions are looked at


def windows_for(dataset: DataSet) -> tuple[int, ...]:
    """Those of `WINDOWS` that are not larger than an image."""
    return tuple(k for k in WINDOWS if k <= min(dataset.shape[1:]))


def candidates_job(experiment: HalfExperiment, held_out: DataSet) -> FileJob:
    """Give the job that counts the effective candidates of ELS on an experiment's images.

    Parameters
    ----------
    experiment : HalfExperiment
        Of these images.
    held_out : DataSet
        Images that are none of them; the first `HELD_OUT` are used.
    """
    dataset = experiment.load_dataset()
    windows = windows_for(dataset)
    plan = _plan(experiment, dataset, len(held_out.images[:HELD_OUT]), windows[-1])
    place = experiment.folder / "n_eff.nc"
    own = job_of(plan, place).identity
    clean = held_out.images[:HELD_OUT]
    content = {"times": list(TIMES), "windows": list(windows), "held_out": held_out.fingerprint()}
    total = len(TIMES) * sum(step_work(plan.model, windows, plan.labels))
    return FileJob(
        place=place,
        identity={
            "configuration": {**own["configuration"], "scales": None},
            **{key: own[key] for key in ("dataset_fingerprint", "versions", "engine")},
            "job": content,
        },
        schema=REPRODUCTION_SCHEMA,
        what="a map of effective candidates",
        parts=[Part(total, partial(count_candidates, plan, clean, windows))],
        unit=plan.unit,
        attributes=lambda: {
            **made_by(plan.device, plan.dataset),
            "title": f"effective candidates of ELS among {len(dataset)} images",
        },
    )


def _plan(experiment: Experiment, dataset: DataSet, samples: int, scale: int) -> Plan:
    """ELS with the boundary of the row's network; only its score model, threads and schedule are used."""
    settings: Mapping[str, Any] = {"samples": samples, "batch_size": samples, "steps": 1, "save": "none"}
    config = experiment.run_config("els", str(scale)).model_copy(update=settings)
    return experiment.study.prepare(config, dataset)


def count_candidates(plan: Plan, clean: Tensor, windows: tuple[int, ...], progress: Progress = silent) -> xr.Dataset:
    """Count the effective candidates of a machine at noisy images, at each of `TIMES` and window sizes.

    Parameters
    ----------
    plan : Plan
        Of the machine; its own steps and scales are not used.
    clean : Tensor (B, C, H, W)
        Images x_0; x_t = a x_0 + s eps, with the noise that runs of the plan's seed start from.
    windows : tuple of int
        Scales k.
    progress : Progress
        Called after each scale at each time.

    Returns
    -------
    xarray.Dataset
        `n_eff_pixel` (time, k, sample): exp of the entropy of a pixel's posterior over candidates, median over pixels.
    """
    noise = initial_noise(plan.config.seed, range(len(clean)), plan.dataset.shape).to(clean)
    work, done = step_work(plan.model, windows, plan.labels), 0.0
    total, values = len(TIMES) * sum(work), np.empty((len(TIMES), len(windows), len(clean)))
    with limited_threads(plan.threads):
        for row, time in enumerate(TIMES):
            level = plan.schedule.level(time)
            x = (level.signal * clean + level.noise * noise).to(plan.dtype).to(plan.device)
            for column, k in enumerate(windows):
                entropy = replace(plan, scales=(k,)).attribute(x, 0, range(len(clean)), level).entropy
                values[row, column] = entropy.exp().flatten(1).cpu().quantile(0.5, dim=1).numpy()
                done += work[column]
                progress(done, total, plan.unit, f"t = {time:g}, k = {k}")
    counted = xr.Dataset(
        {"n_eff_pixel": (("time", "k", "sample"), values)},
        {"time": list(TIMES), "k": list(windows), "sample": np.arange(len(clean))},
    )
    return described(counted, REPRODUCTION_SCHEMA)
