"""One batch of a run: the reverse flow, and what is kept of it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import xarray as xr
from torch import Tensor

from mosaic.device import limited_threads
from mosaic.errors import no_exit
from mosaic.interfaces.estimate import Estimate
from mosaic.interfaces.sampler import Step
from mosaic.interfaces.schedule import Level
from mosaic.progress import Progress, silent
from mosaic.run.checks import check_steps
from mosaic.run.plan import Plan
from mosaic.run.saved import NEEDS_POSTERIOR, estimated_arrays, record_step, saved_arrays
from mosaic.sampling.noise import StepNoise
from mosaic.storage.trajectory import assemble

__all__ = ["run_batch"]


class AfterStep(Protocol):
    """What is called after each step."""

    def __call__(self, *, step: Step) -> object: ...


def _nobody(*, step: Step) -> None:
    return None


def run_batch(plan: Plan, batch: range, progress: Progress = silent, *, after_step: AfterStep = _nobody) -> xr.Dataset:
    """Run the reverse flow of one batch of samples.

    After each step `progress` is called with the batch's work, and `after_step` with the step.
    """
    states: list[Tensor] = []
    denoised: list[Tensor] = []
    recorded: dict[int, dict[str, np.ndarray]] = {}
    estimates: list[list[Estimate]] = [[] for _ in plan.levels]  # of each step's evaluations, where they are not exact
    needs_posterior = bool(set(plan.save) & set(NEEDS_POSTERIOR))
    work = plan.work(batch)

    def evaluate(x: Tensor, level: Level, index: int) -> Tensor:
        if level != plan.levels[index]:
            x, level = plan.schedule.rescaled(x, level)
        step = len(states)  # the one under way: its first evaluation is the one that is kept
        keep = bool(plan.save) and step in plan.save_steps and step not in recorded
        attribution = plan.attribute(x, index, batch, level) if keep and needs_posterior else None
        if attribution is not None:
            result = attribution.denoised
        elif plan.model.traits.is_exact:
            result = plan.denoise(x, index, batch, level)
        else:
            estimates[step].append(plan.estimate(x, index, batch, level))
            result = estimates[step][-1].denoised
        if keep:
            recorded[step] = record_step(plan.save, x, result, level, attribution)
        return result

    flow = plan.sampler.flow(evaluate, plan.starts(batch), plan.levels, StepNoise(plan.step_seeds(batch)))
    with limited_threads(plan.threads), no_exit("A plugin that the run uses"):
        for step in check_steps(plan.config.sampler, flow, len(plan.levels)):
            states.append(step.state)
            denoised.append(step.denoised)
            after_step(step=step)
            image = step.following
            note = f"step {step.index + 1}/{len(plan.levels)}"
            progress(sum(work[: step.index + 1]), sum(work), plan.unit, note)
        source = None
        if "provenance" in plan.save:  # for final images: the nearest candidates (theorem 4.1)
            finished = Level(1.0, 0.0)
            source = plan.model.attribute(image, finished, plan.labels_of(batch), plan.scales[-1]).source
    coordinates: dict[str, Any] = {
        "sample": list(batch),
        "seed": plan.seeds[batch.start : batch.stop],
        "label": plan.labels[batch.start : batch.stop],
        "time": plan.times,
        "signal": [level.signal for level in plan.levels],
        "noise": [level.noise for level in plan.levels],
        "scale": plan.scales,
    }
    saved = {**saved_arrays(recorded, len(plan.levels), source), **estimated_arrays(estimates)}
    return assemble(states, denoised, image, coordinates, saved)
