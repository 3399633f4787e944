"""What a run will cost: time from short measurements on this machine, memory from its shapes."""

from __future__ import annotations

import time

import torch

from mosaic.dataset import balanced_subset
from mosaic.machine import AnalyticMachine
from mosaic.plan import Plan
from mosaic.posterior import TILE_ELEMENTS

__all__ = ["predict_memory", "predict_seconds"]

# Comparisons that one measurement aims at: long enough to time, short beside any run worth predicting.
SAMPLE_COMPARISONS = 2e7


def predict_seconds(plan: Plan) -> float | None:
    """Predict a run's time by timing its score model on a few training images, once for each scale.

    An analytic machine's time is linear in the number of training images: two subsets give slope and
    intercept. Nothing in the run depends on what is measured. None for other score models.
    """
    if not isinstance(plan.model, AnalyticMachine):
        return None
    _seconds(plan, 0, 1)  # the first call pays for starting threads
    seconds = {}
    for index, scale in enumerate(plan.scales):
        if scale not in seconds:
            seconds[scale] = _step_seconds(plan, index)
    return sum(seconds[scale] for scale in plan.scales) * plan.samples / len(plan.batches[0])


def _step_seconds(plan: Plan, index: int) -> float:
    total = len(plan.dataset)
    per_image = plan.model.comparisons(plan.scales[index]) * len(plan.batches[0]) / total
    few = max(16, int(SAMPLE_COMPARISONS / per_image))
    if 3 * few >= total:
        return _seconds(plan, index, total)
    once, thrice = _seconds(plan, index, few), _seconds(plan, index, 3 * few)
    slope = max(0.0, thrice - once) / (2 * few)
    return thrice + slope * (total - 3 * few)


def _seconds(plan: Plan, index: int, count: int) -> float:
    """Time one evaluation on `count` training images and the first batch's start."""
    dataset, batch = plan.dataset, plan.batches[0]
    if count < len(dataset):
        chosen = balanced_subset(len(dataset), count, 0, dataset.labels)
        dataset = dataset.select(chosen.to(dataset.images.device))
    model = type(plan.model)(plan.model.options, dataset)
    labels = None
    if dataset.labels is not None:
        present = set(dataset.labels.unique().tolist())
        wanted = [plan.labels[i] if plan.labels[i] in present else -1 for i in batch]
        labels = torch.tensor(wanted, device=plan.device)
    x = plan.starts(batch) / plan.levels[0].noise * plan.levels[index].noise
    begin = time.perf_counter()
    model.denoise(x, plan.levels[index], labels, plan.scales[index])
    if plan.device.type == "cuda":
        torch.cuda.synchronize(plan.device)
    return time.perf_counter() - begin


def predict_memory(plan: Plan) -> dict[str, int]:
    """Bytes of the training set, of one tile of comparisons, and of one batch's trajectory."""
    element = 8 if plan.config.dtype == "float64" else 4
    batch = len(plan.batches[0]) * 2 * len(plan.levels) * plan.dataset.images[0].numel() * element
    return {
        "dataset": plan.dataset.images.numel() * plan.dataset.images.element_size(),
        "tile": 10 * TILE_ELEMENTS * 8 if plan.model.comparisons(plan.scales[0]) else 0,
        "batch": batch,
    }
