"""Streaming the training set: tiles in parallel, each on one thread, merged in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor

from mosaic.interrupts import interrupts_held
from mosaic.posterior import Posterior

__all__ = ["single_threaded", "stream"]

_one_at_a_time = threading.Lock()


def stream(images: Tensor, length: int, part: Callable[[int, Tensor], Posterior], workers: int | None) -> Posterior:
    """Merge the partial posteriors of consecutive tiles of `length` images, in order.

    A part is computed as part(first, tile), `first` the number of the tile's first image.

    On a CPU each tile is one thread's work from end to end: the numbers then do not depend on the number of
    threads, and a busy machine slows a run in proportion, where threads that share each small operation wait
    for one another at its end. As many tiles are worked on at a time as torch has threads, `workers` at most.
    """
    firsts, tiles = range(0, len(images), length), images.split(length)
    if images.device.type != "cpu":
        return reduce(Posterior.merge, map(part, firsts, tiles))
    _keep_freed_memory()
    with single_threaded() as threads:
        threads = min(threads, len(tiles), workers or threads)
        if threads == 1:
            return reduce(Posterior.merge, map(part, firsts, tiles))
        # Ctrl-C while the pool holds one of its locks would leave its threads waiting for it for ever.
        with interrupts_held() as interrupted, ThreadPoolExecutor(threads) as pool:
            return reduce(Posterior.merge, _until(interrupted, pool.map(part, firsts, tiles)))


def _until(stopped: Callable[[], bool], parts: Iterator[Posterior]) -> Iterator[Posterior]:
    """Give parts for as long as nothing stops it, one at least; then those not begun are not computed."""
    for part in parts:
        yield part
        if stopped():
            return


def _keep_freed_memory() -> None:
    """Free a large block once, from which glibc learns not to hand freed tiles back to the system.

    Handing 4 MiB back and getting it again, page by page, costs ten times what a convolution that fills them does.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def single_threaded() -> Iterator[int]:
    """Let torch use one thread an operation for a while; give the number it may use in all."""
    with _one_at_a_time:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield threads
        finally:
            torch.set_num_threads(threads)
