"""Streaming the training set: blocks in parallel, each on one thread, merged in a fixed tree.

Images are counted in shards of `SHARD`. A shard is cut into blocks, whose posteriors are merged from left to right; the
posteriors of shards are merged in a binary tree. Both depend on the number of images and the shape of a block alone. So
the numbers do not depend on threads. Nor do they depend on who computes which shards, as long as each computes whole
subtrees: `tasks_of` cuts the shards into such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor

from mosaic.device import interrupts_held, single_threaded, thread_limit
from mosaic.engine.posterior import Posterior
from mosaic.interfaces.images import Images

__all__ = ["SHARD", "merged", "shards_of", "stream", "tasks_of"]

Part = TypeVar("Part")

SHARD = 8192
"""Images in a shard. With fewer images all blocks are merged from left to right."""


def shards_of(images: int) -> range:
    """Number the shards of some images."""
    return range(-(-images // SHARD))


def tasks_of(shards: range, size: int) -> list[range]:
    """Cut all shards of a training set into tasks, each a whole subtree: `merged` gives the same bits.

    Parameters
    ----------
    shards : range
        As `shards_of` gives them.
    size : int
        Shards in a task, at most; a power of two.
    """
    return [range(first, min(first + size, shards.stop)) for first in range(0, shards.stop, size)]


def merged(posteriors: Iterable[Posterior]) -> Posterior:
    """Merge the posteriors of consecutive shards, or of consecutive tasks of one size, in a binary tree.

    Neighbours are merged in pairs, then the results, and so on; what is left without a neighbour is merged at the end,
    from right to left. At most as many posteriors are held as the tree is deep.
    """
    held: list[tuple[int, Posterior]] = []  # each of a complete subtree: its depth, and its posterior
    for posterior in posteriors:
        depth = 0
        while held and held[-1][0] == depth:
            posterior, depth = held.pop()[1].merge(posterior), depth + 1
        held.append((depth, posterior))
    return reduce(lambda right, left: left.merge(right), [posterior for _, posterior in reversed(held)])


def stream(
    images: Images, length: int, part: Callable[[int, Tensor], Posterior], shards: range | None = None
) -> Posterior:
    """Merge the posteriors of blocks of at most `length` images.

    A block's posterior is computed as part(first, block), `first` the number of the block's first image. Images that
    are not in memory are read block by block, each by the thread that computes with it; to other devices one block
    ahead.

    On a CPU one thread computes each block from start to end, so the numbers do not depend on the number of threads.
    This is also faster on a busy machine, where threads that share every small operation wait for each other. At most
    as many blocks are computed at a time as torch has threads, or as `limited_threads` allows.

    Parameters
    ----------
    shards : range, optional
        The shards to merge, a task of `tasks_of`; all by default.
    """
    ends = [min((shard + 1) * SHARD, len(images)) for shard in shards_of(len(images))]
    chosen = shards_of(len(images)) if shards is None else shards
    blocks = [range(first, min(first + length, ends[n])) for n in chosen for first in range(n * SHARD, ends[n], length)]

    def read(block: range) -> Tensor:
        return images[block.start : block.stop]

    def computed(block: range) -> Posterior:
        return part(block.start, read(block))

    if images.device.type != "cpu":
        pieces = map(read, blocks) if isinstance(images, Tensor) else _one_ahead(read, blocks)
        return merged(_by_shard(blocks, map(part, [block.start for block in blocks], pieces)))
    _keep_freed_memory()
    # An interrupt waits for the blocks in progress. A KeyboardInterrupt while a lock of the pool, or the one of
    # `single_threaded`, is being taken would leave threads, or the next run, waiting for ever.
    with interrupts_held() as interrupted, single_threaded(interrupted) as threads:
        threads = min(threads, len(blocks), thread_limit() or threads)
        if threads == 1:
            whole = merged(_by_shard(blocks, _until(interrupted, map(computed, blocks))))
        else:
            with ThreadPoolExecutor(threads) as pool:
                whole = merged(_by_shard(blocks, _until(interrupted, pool.map(computed, blocks))))
        if interrupted():  # what is merged is not the whole
            raise KeyboardInterrupt
        return whole


def _by_shard(blocks: Iterable[range], posteriors: Iterable[Posterior]) -> Iterator[Posterior]:
    """Merge the posteriors of the blocks of each shard, from left to right, as they come; they may end early."""
    number, whole = -1, None
    for block, posterior in zip(blocks, posteriors, strict=False):
        shard = block.start // SHARD
        if whole is not None and shard != number:
            yield whole
        whole, number = posterior if whole is None or shard != number else whole.merge(posterior), shard
    if whole is not None:
        yield whole


def _until(stopped: Callable[[], bool], parts: Iterator[Part]) -> Iterator[Part]:
    """Yield parts until `stopped()`, at least one. Leaving the pool then cancels the blocks that have not started."""
    for part in parts:
        yield part
        if stopped():
            return


def _one_ahead(read: Callable[[Part], Tensor], blocks: Sequence[Part]) -> Iterator[Tensor]:
    """Read blocks in order, the next one while the caller computes with this one."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(read, blocks[0])
        for each in blocks[1:]:
            block, following = following.result(), reader.submit(read, each)
            yield block
        yield following.result()


def _keep_freed_memory() -> None:
    """Free a large block once, so that glibc keeps freed memory in place of returning it to the system.

    Returning 4 MiB and getting it again, page by page, costs ten times as much as a convolution that fills it. Freeing
    a mapped block raises glibc's threshold for mapping to the block's size, up to 32 MiB.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8, device="cpu")
