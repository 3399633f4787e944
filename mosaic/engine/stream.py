"""Streaming the training set: blocks in parallel, each on one thread, merged in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import torch
from torch import Tensor

from mosaic.device import interrupts_held, single_threaded, thread_limit
from mosaic.engine.posterior import Posterior
from mosaic.interfaces.images import Images

__all__ = ["stream"]


def stream(images: Images, length: int, part: Callable[[int, Tensor], Posterior]) -> Posterior:
    """Merge the partial posteriors of consecutive blocks of `length` images, in order.

    A part is computed as part(first, block), `first` the number of the block's first image. Images that are not in
    memory are read block by block, each by the thread that computes with it; to other devices one block ahead.

    On a CPU one thread computes each block from start to end, so the numbers do not depend on the number of threads.
    This is also faster on a busy machine, where threads that share every small operation wait for each other. At most
    as many blocks are computed at a time as torch has threads, or as `limited_threads` allows.
    """
    # Parts are merged from left to right in the order of the blocks, not as threads finish them, so that the sums are
    # rounded in the same way in every run.
    firsts = range(0, len(images), length)

    def read(first: int) -> Tensor:
        return images[first : first + length]

    def computed(first: int) -> Posterior:
        return part(first, read(first))

    if images.device.type != "cpu":
        blocks = map(read, firsts) if isinstance(images, Tensor) else _one_ahead(read, firsts)
        return reduce(Posterior.merge, map(part, firsts, blocks))
    _keep_freed_memory()
    # An interrupt waits for the blocks in progress. A KeyboardInterrupt while a lock of the pool, or the one of
    # `single_threaded`, is being taken would leave threads, or the next run, waiting for ever.
    with interrupts_held() as interrupted, single_threaded(interrupted) as threads:
        threads = min(threads, len(firsts), thread_limit() or threads)
        if threads == 1:
            merged = reduce(Posterior.merge, _until(interrupted, map(computed, firsts)))
        else:
            with ThreadPoolExecutor(threads) as pool:
                merged = reduce(Posterior.merge, _until(interrupted, pool.map(computed, firsts)))
        if interrupted():  # what is merged is not the whole
            raise KeyboardInterrupt
        return merged


def _until(stopped: Callable[[], bool], parts: Iterator[Posterior]) -> Iterator[Posterior]:
    """Yield parts until `stopped()`, at least one. Leaving the pool then cancels the blocks that have not started."""
    for part in parts:
        yield part
        if stopped():
            return


def _one_ahead(read: Callable[[int], Tensor], firsts: range) -> Iterator[Tensor]:
    """Read blocks in order, the next one while the caller computes with this one."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(read, firsts[0])
        for first in firsts[1:]:
            block, following = following.result(), reader.submit(read, first)
            yield block
        yield following.result()


def _keep_freed_memory() -> None:
    """Free a large block once, so that glibc keeps freed memory in place of returning it to the system.

    Returning 4 MiB and getting it again, page by page, costs ten times as much as a convolution that fills it. Freeing
    a mapped block raises glibc's threshold for mapping to the block's size, up to 32 MiB.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8, device="cpu")
