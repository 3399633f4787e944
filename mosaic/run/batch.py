"""One batch of a run: the reverse flow, and what is kept of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from mosaic.device import limited_threads
from mosaic.interfaces.schedule import Level
from mosaic.progress import Progress, silent
from mosaic.run.plan import Plan
from mosaic.run.saved import NEEDS_POSTERIOR, record_step, saved_arrays
from mosaic.sampling.flow import SAMPLERS, reverse_flow, reverse_times
from mosaic.sampling.noise import StepNoise
from mosaic.storage.trajectory import assemble

__all__ = ["run_batch"]


def run_batch(plan: Plan, batch: range, progress: Progress = silent) -> xr.Dataset:
    """Run the reverse flow of one batch of samples; `progress` is called after each step, with the batch's work."""
    states: list[Tensor] = []
    denoised: list[Tensor] = []
    recorded: dict[int, dict[str, np.ndarray]] = {}
    needs_posterior = bool(set(plan.save) & set(NEEDS_POSTERIOR))
    work = plan.work(batch)

    def evaluate(x: Tensor, index: int) -> Tensor:
        keep = bool(plan.save) and index in plan.save_steps
        attribution = plan.attribute(x, index, batch) if keep and needs_posterior else None
        result = plan.denoise(x, index, batch) if attribution is None else attribution.denoised
        if keep:
            recorded[index] = record_step(plan.save, x, result, plan.levels[index], attribution)
        return result

    noise = StepNoise(plan.step_seeds(batch))
    with limited_threads(plan.threads):
        for step in reverse_flow(evaluate, plan.starts(batch), plan.levels, SAMPLERS[plan.config.sampler], noise):
            states.append(step.state)
            denoised.append(step.denoised)
            note = f"step {step.index + 1}/{len(plan.levels)}"
            progress(sum(work[: step.index + 1]), sum(work), plan.unit, note)
        source = None
        if "provenance" in plan.save:  # for final images: the nearest candidates (theorem 4.1)
            finished = Level(1.0, 0.0)
            source = plan.model.attribute(denoised[-1], finished, plan.labels_of(batch), plan.scales[-1]).source
    coordinates: dict[str, Any] = {
        "sample": list(batch),
        "seed": plan.seeds[batch.start : batch.stop],
        "label": plan.labels[batch.start : batch.stop],
        "time": reverse_times(len(plan.levels)),
        "signal": [level.signal for level in plan.levels],
        "noise": [level.noise for level in plan.levels],
        "scale": plan.scales,
    }
    return assemble(states, denoised, coordinates, saved_arrays(recorded, len(plan.levels), source))
