"""How work is cut into tasks for workers, and how long a run takes on a number of them."""

from __future__ import annotations

import math

from torch import Tensor

from mosaic.engine.stream import SHARD, shards_of, tasks_of
from mosaic.run.plan import Plan

__all__ = ["forecast", "takes_shards", "task_size"]

TASKS = 4  # tasks of shards for each worker, where there are so many shards
LEAST = 0.05  # seconds that a task of shards should take at least: less, and the scheduler would be what limits

# About how long one thread takes, to choose the size of tasks: for a comparison of windows, for a pixel of an image.
SECONDS_A_WINDOW, SECONDS_A_PIXEL = 1e-9, 2e-10

# What a cluster costs: seconds for a task, seconds from a call to its result, and bytes a second that this process
# receives. Rounded from `mosaic bench --row tasks` on two cores of an Intel Xeon @ 2.80 GHz.
OVERHEAD, LATENCY, BANDWIDTH = 4e-3, 1e-2, 2e8


def task_size(function: str, x: Tensor, shards: int, workers: int) -> int:
    """Choose how many shards a task has, a power of two: few enough for all workers, enough to be worth its overhead.

    Parameters
    ----------
    function : str
        Name of one of `mosaic.engine.distribute.POSTERIORS`.
    x : Tensor (B, C, H, W)
        Noisy images.
    shards, workers : int
        How many there are.
    """
    batch, _, height, width = x.shape
    is_windows = "local" in function
    each = (height * width) ** 2 * SECONDS_A_WINDOW if is_windows else x[0].numel() * SECONDS_A_PIXEL
    for_all = math.floor(math.log2(max(1.0, shards / (TASKS * workers))))
    worth_it = math.ceil(math.log2(max(1.0, LEAST / (SHARD * batch * each))))
    return 1 << max(for_all, worth_it)


def takes_shards(parts: int, images: int, workers: int) -> bool:
    """Whether the shards of the training images are the tasks, and not the parts: these do not serve all workers.

    Parameters
    ----------
    parts, images, workers : int
        How many there are; 0 images where shards cannot be compared elsewhere.
    """
    return parts < min(workers, len(shards_of(images)))


def forecast(plan: Plan, seconds: float, workers: int) -> float:
    """Predict how long a run takes on workers, each of which would take `seconds` alone.

    The model: a worker has whole tasks; the scheduler spends a while on each, one after the other; and what it gives
    passes through one process. What tasks are, `takes_shards` says. `mosaic bench --row workers` compares it with what
    1 and 2 workers take.
    """
    batches, shape = len(plan.batches), plan.dataset.shape
    if not takes_shards(batches, plan.shared_images, workers):
        moved = plan.samples * len(plan.levels) * 2 * math.prod(shape) * plan.dtype.itemsize
        share = math.ceil(batches / workers) / batches
        return max(seconds * share, batches * OVERHEAD + moved / BANDWIDTH) + LATENCY
    x, shards = plan.starts(plan.batches[0]), shards_of(len(plan.dataset))
    function = "local" if plan.model.traits.has_scale else "ideal"
    size = task_size(function, x, len(shards), workers)
    tasks = len(tasks_of(shards, size))
    share = min(1.0, math.ceil(tasks / workers) * size * SHARD / len(plan.dataset))
    values = len(x) * (2 + shape[0]) * shape[1] * shape[2]  # of a posterior, float64
    each = LATENCY + tasks * (OVERHEAD + 8 * values / BANDWIDTH)
    return seconds * share + sum(plan.evaluations) * batches * each
