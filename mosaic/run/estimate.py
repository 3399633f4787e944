"""How long a run will take, from short measurements on this machine."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from mosaic.device import limited_threads, standard_torch
from mosaic.engine.machine import AnalyticMachine
from mosaic.engine.precision import Arithmetic, choose_arithmetic
from mosaic.interfaces.dataset import balanced_subset
from mosaic.run.plan import Plan

__all__ = ["predict_seconds"]

# Training images that the first measurement of a step takes.
FIRST_IMAGES = 16

# Seconds that a measurement must take to be reliable; short compared with any run worth predicting.
LONG_ENOUGH = 0.15


@standard_torch()
def predict_seconds(plan: Plan) -> float | None:
    """Predict a run's time by timing its score model on a few training images, once for each kind of step.

    An analytic machine's time is linear in the number of training images: two subsets give slope and
    intercept. Steps are of one kind if they share scale and arithmetic. Nothing in the run depends on what is
    measured. Where sums may stop early, it is the time of comparing all candidates, an upper bound. None for other
    score models.
    """
    if not isinstance(plan.model, AnalyticMachine):
        return None
    with limited_threads(plan.threads):
        _seconds(plan, 0, plan.scales[0], 1)  # the first call pays for starting threads
        seconds: dict[tuple[float, Arithmetic], float] = {}
        total = 0.0
        for index, scale in enumerate(plan.scales):
            kind = (scale, _arithmetic(plan, index, scale))
            if kind not in seconds:
                seconds[kind] = _step_seconds(plan, index, scale)
            total += seconds[kind] * plan.evaluations[index]
    return total * plan.samples / len(plan.batches[0])


def _arithmetic(plan: Plan, index: int, scale: float) -> Arithmetic:
    """How the machine evaluates distances at one step."""
    channels, height, width = plan.dataset.shape
    pixels = channels * (min(scale**2, height * width) if plan.model.traits.has_scale else height * width)
    largest = max(abs(bound) for bound in plan.dataset.range)
    return choose_arithmetic(_state(plan, index), plan.levels[index], pixels, largest)


def _state(plan: Plan, index: int) -> Tensor:
    """A state with about the magnitude that the first batch has at one step: the arithmetic depends on it."""
    level = plan.levels[index]
    return plan.starts(plan.batches[0]) * (math.hypot(level.signal, level.noise) / plan.levels[0].noise)


def _step_seconds(plan: Plan, index: int, scale: float) -> float:
    """Predict the time of one step: time more and more images until it takes long enough, then extrapolate."""
    total = len(plan.dataset)
    few, count = min(FIRST_IMAGES, total), min(2 * FIRST_IMAGES, total)
    less, seconds = _seconds(plan, index, scale, few), _seconds(plan, index, scale, count)
    while seconds < LONG_ENOUGH and count < total:
        few, less = count, seconds
        count = min(4 * count, total)
        seconds = _seconds(plan, index, scale, count)
    if count == total:
        return seconds
    return seconds + max(0.0, seconds - less) / (count - few) * (total - count)


def _seconds(plan: Plan, index: int, scale: float, count: int) -> float:
    """Time one evaluation of a machine of the same kind, on `count` training images and the first batch."""
    dataset, batch = plan.dataset, plan.batches[0]
    if count < len(dataset):
        chosen = balanced_subset(len(dataset), count, 0, dataset.labels)
        dataset = dataset.select(chosen.to(dataset.images.device))
    assert isinstance(plan.model, AnalyticMachine)
    model = plan.model.on(dataset)
    labels = None
    if dataset.labels is not None:
        present = set(dataset.labels.unique().tolist())
        wanted = [plan.labels[i] if plan.labels[i] in present else -1 for i in batch]
        labels = torch.tensor(wanted, device=plan.device, dtype=torch.int64)
    x = _state(plan, index)
    begin = time.perf_counter()
    model.denoise(x, plan.levels[index], labels, scale)
    if plan.device.type == "cuda":
        torch.cuda.synchronize(plan.device)
    return time.perf_counter() - begin
