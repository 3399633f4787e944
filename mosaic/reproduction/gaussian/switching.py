"""A theory first, then the network: final images by how much of the network's flow the theory takes over.

References: Wang & Vastola 2024 (arXiv 2412.09726); Karras et al. 2022, eq. 5 (the grid `edm_sigmas`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mosaic.device import limited_threads
from mosaic.interfaces.sampler import Sampler, levels_at
from mosaic.interfaces.schedule import Level
from mosaic.progress import Progress, silent
from mosaic.registry.loading import registry
from mosaic.run.plan import Plan
from mosaic.sampling.noise import StepNoise
from mosaic.storage.schema import REPRODUCTION_SCHEMA, described
from mosaic.storage.trajectory import open_trajectory

__all__ = ["EDM_STEPS", "FIRSTS", "SHARES", "SKIPPED", "edm_sigmas", "evaluations", "switched_batch", "times_after"]

SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # of the times; ELS has a state at each 1/20
FIRSTS = ("gaussian", "els")
EDM_STEPS = 18
SKIPPED = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12)  # of EDM's steps; the claim is of 3 to 5
FINISHED = Level(1.0, 0.0)
IMAGE = ("channel", "height", "width")


def edm_sigmas() -> list[float]:
    """Noise over signal at the 18 steps of Karras et al. 2022: from 80 to 0.002, with rho = 7."""
    first, last = 80 ** (1 / 7), 0.002 ** (1 / 7)
    return [(first + i / (EDM_STEPS - 1) * (last - first)) ** 7 for i in range(EDM_STEPS)]


def times_after(share: float, times: Sequence[float]) -> list[float]:
    """Times of a grid that remain when a share of it is taken over: 1 - share itself, and those of the grid below."""
    first = round(1 - share, 9)
    return [first, *(time for time in times if time < first - 1e-9)] if first > 0 else []


def evaluations(times: Sequence[float]) -> int:
    """How often `switched_batch` evaluates the network for each sample."""
    plain = sum(len(times_after(share, times)) for share in SHARES)
    return len(FIRSTS) * plain + sum(2 * (EDM_STEPS - skipped) - 1 for skipped in SKIPPED)


def switched_batch(plan: Plan, gaussian: Any, els: Path, batch: range, progress: Progress = silent) -> xr.Dataset:
    """Make the final images of a batch, with a theory first and then the network.

    Parameters
    ----------
    plan : Plan
        The network's run, whose noise, labels, times and sampler all have.
    gaussian : ScoreModel
        The Gaussian of the data, with its `flow` in closed form.
    els : Path
        The run of ELS from the same noise, whose states the network goes on from.
    batch : range
        Samples.
    progress : Progress
        Called with evaluations of the network.

    Returns
    -------
    xarray.Dataset
        `switched_image` (sample, first, share, channel, height, width), by `FIRSTS` and `SHARES`: the theory takes the
        times above 1 - share, the network all others of its own grid. `edm_image` (sample, skipped, channel, height,
        width): Heun's method on EDM's grid, whose first steps the Gaussian takes.
    """
    plain, start, done = _Going(plan, batch), plan.starts(batch), 0
    total = evaluations(plan.times) * len(batch)
    switched = np.empty((len(batch), len(FIRSTS), len(SHARES), *plan.dataset.shape), np.float32)
    edm = np.empty((len(batch), len(SKIPPED), *plan.dataset.shape), np.float32)
    labels = plan.labels_of(batch)
    with limited_threads(plan.threads), open_trajectory(els) as run:
        own = run.isel(sample=slice(batch.start, batch.stop))
        for place, share in enumerate(SHARES):
            levels = levels_at(plan.schedule, times_after(share, plan.times))
            following = levels[0] if levels else FINISHED
            states = {"gaussian": gaussian.flow(start, plan.levels[0], following, labels), "els": _state(own, share)}
            for number, first in enumerate(FIRSTS):
                switched[:, number, place] = plain(states[first].to(start), levels)
                done += len(levels) * len(batch)
                progress(done, total, "evaluation", f"{first} first, share {share:g}")
        levels = [plan.schedule.level(plan.schedule.time_of_ratio(sigma)) for sigma in edm_sigmas()]
        heun, noise = _Going(plan, batch, registry().make("sampler", "heun", {})), start / plan.levels[0].noise
        for place, skipped in enumerate(SKIPPED):
            state = gaussian.flow(noise * levels[0].noise, levels[0], levels[skipped], labels)
            edm[:, place] = heun(state, levels[skipped:])
            done += (2 * (EDM_STEPS - skipped) - 1) * len(batch)
            progress(done, total, "evaluation", f"EDM's grid, {skipped} steps skipped")
    images = xr.Dataset(
        {
            "switched_image": (("sample", "first", "share", *IMAGE), switched),
            "edm_image": (("sample", "skipped", *IMAGE), edm),
        },
        {"sample": list(batch), "first": list(FIRSTS), "share": list(SHARES), "skipped": list(SKIPPED)},
    )
    return described(images, REPRODUCTION_SCHEMA)


class _Going:
    """The network's flow of a batch from a state on, by the run's sampler or another."""

    def __init__(self, plan: Plan, batch: range, sampler: Sampler | None = None) -> None:
        self.plan, self.batch, self.sampler = plan, batch, sampler or plan.sampler

    def __call__(self, x: Tensor, levels: Sequence[Level]) -> np.ndarray:
        """Go on from x (B, C, H, W) at the first of some levels; without levels x is the image."""
        image = x
        if levels:
            draw = StepNoise(self.plan.step_seeds(self.batch))
            for step in self.sampler.flow(self._evaluate, x, levels, draw):
                image = step.following
        return image.cpu().numpy()

    def _evaluate(self, x: Tensor, level: Level, index: int) -> Tensor:
        return self.plan.denoise(x, 0, self.batch, level)  # the network has no scales that depend on the step


def _state(run: xr.Dataset, share: float) -> Tensor:
    """State of a run at time 1 - share; its images at 0."""
    if share == 1:
        return torch.from_numpy(run["image"].values)
    step = int(np.abs(run["time"].values - (1 - share)).argmin())
    return torch.from_numpy(run["state"].isel(step=step).values)
