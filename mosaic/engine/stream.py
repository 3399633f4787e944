"""Streaming the training set: blocks in parallel, each on one thread, merged in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import torch
from torch import Tensor

from mosaic.device import interrupts_held, single_threaded, thread_limit
from mosaic.engine.posterior import Posterior

__all__ = ["stream"]


def stream(images: Tensor, length: int, part: Callable[[int, Tensor], Posterior]) -> Posterior:
    """Merge the partial posteriors of consecutive blocks of `length` images, in order.

    A part is computed as part(first, block), `first` the number of the block's first image.

    On a CPU each block is one thread's work from end to end: the numbers then do not depend on the number of
    threads, and a busy machine slows a run in proportion, where threads that share each small operation wait
    for one another at its end. As many blocks are worked on at a time as torch has threads, or as `limited_threads`
    allows.
    """
    firsts, blocks = range(0, len(images), length), images.split(length)
    if images.device.type != "cpu":
        return reduce(Posterior.merge, map(part, firsts, blocks))
    _keep_freed_memory()
    with single_threaded() as threads:
        threads = min(threads, len(blocks), thread_limit() or threads)
        if threads == 1:
            return reduce(Posterior.merge, map(part, firsts, blocks))
        # Ctrl-C while the pool holds one of its locks would leave its threads waiting for it for ever.
        with interrupts_held() as interrupted, ThreadPoolExecutor(threads) as pool:
            return reduce(Posterior.merge, _until(interrupted, pool.map(part, firsts, blocks)))


def _until(stopped: Callable[[], bool], parts: Iterator[Posterior]) -> Iterator[Posterior]:
    """Give parts for as long as nothing stops it, one at least; then those not started are not computed."""
    for part in parts:
        yield part
        if stopped():
            return


def _keep_freed_memory() -> None:
    """Free a large block once, from which glibc learns not to hand freed memory back to the system.

    Handing 4 MiB back and getting it again, page by page, costs ten times what a convolution that fills them does.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)
