"""What a run needs of memory, and how many blocks of candidates fit a budget at a time.

The sizes of blocks never depend on memory, so neither do the numbers of a run: a smaller budget means fewer blocks at
a time, and a slower run.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import torch

from mosaic.device import physical_memory
from mosaic.errors import UsageError
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.image_source import ImageSource
from mosaic.interfaces.images import Images
from mosaic.interfaces.score import ScoreModel
from mosaic.run.saved import saved_bytes

__all__ = ["NotEnoughMemory", "Size", "access_within", "parse_memory", "predict_memory", "threads_within"]

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

# Interpreter, torch and xarray, as loaded (measured with the CPU build of torch: 290 MiB; 365 MiB once MNIST was read).
PROGRAM = 384 * 2**20


class NotEnoughMemory(UsageError):
    """A run takes more than it may."""


@dataclass(frozen=True)
class Size:
    """What the memory of a run depends on, apart from its model and training set.

    Attributes
    ----------
    samples, steps, batch : int
        Samples in all and in a batch, and steps.
    largest_scale : float
        Largest locality scale, 0 for a model without one.
    dtype : torch.dtype
        Precision of states.
    save : tuple of str
        What is kept of the posterior, as in `Plan.save`.
    labels : tuple of int
        Class of each sample, -1 for none.
    is_stored : bool
        Whether batches are stored as they are finished, so that only the one in flight is in memory.
    """

    samples: int
    steps: int
    batch: int
    largest_scale: float
    dtype: torch.dtype
    save: tuple[str, ...] = ()
    labels: tuple[int, ...] = (-1,)
    is_stored: bool = False


def parse_memory(memory: str | float) -> int:
    """Read a size such as 2G, 500M, 1.5GiB or a number of bytes.

    Raises
    ------
    UsageError
        If it is not a size.
    """
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([KMGT]?)(?:i?B)?\s*", str(memory), re.IGNORECASE)
    size = 0 if match is None else int(float(match[1]) * UNITS[match[2].upper()])
    if size == 0:
        raise UsageError(
            f"`memory` '{memory}' is not a valid size; write 2G, 500M (powers of 1024) or a number of bytes."
        )
    return size


def access_within(access: DataAccess, memory: str | float | None) -> DataAccess:
    """Let reading data take what a budget, such as 2G, leaves beside the program; without one nothing changes.

    Raises
    ------
    UsageError
        If it is not a size.
    """
    return access if memory is None else replace(access, memory=max(0, parse_memory(memory) - PROGRAM))


def predict_memory(model: ScoreModel, size: Size) -> dict[str, int]:
    """Bytes, at most, of the program, the training set, the trajectory, what the model holds, and one thread.

    The training set counts twice, because reading it needs a copy. So does the trajectory, because joining steps and
    batches does; of a run that is stored, it is that of one batch. Of images that are read in pieces a thread holds a
    block, as stored and as numbers, each with a copy; the labels and places of all are counted. Of a model that does
    not say what it needs, `model` and `thread` are left out.
    """
    images = model.dataset.images
    element = 8 if size.dtype == torch.float64 else 4
    saved = saved_bytes(size.save, model.dataset.shape, element)
    held = size.batch if size.is_stored else size.samples
    needed = model.traits.memory(size.batch, size.largest_scale, size.dtype, tuple(sorted(set(size.labels))))
    return {
        "program": PROGRAM,
        "dataset": 32 * len(images) if isinstance(images, ImageSource) else 2 * images.numel() * images.element_size(),
        "trajectory": 2 * held * size.steps * (2 * math.prod(images.shape[1:]) * element + saved),
        **({} if needed is None else {"model": needed.held, "thread": needed.block + _read_bytes(images, needed.read)}),
    }


def _read_bytes(images: Images, values: int) -> int:
    """Bytes of a block of so many values, if it is read."""
    if not isinstance(images, ImageSource):
        return 0
    return 2 * min(values, images.numel()) * (images.stored.itemsize + images.element_size())


def threads_within(memory: str | float | None, model: ScoreModel, size: Size, name: str) -> int | None:
    """Limit the blocks worked on at a time to what fits a budget of the machine's memory; on a GPU nothing is limited.

    Parameters
    ----------
    memory : str, optional
        The budget, such as 2G; by default a quarter of the machine's memory, if the system says how much it has.
    name : str
        Name of the score model.

    Returns
    -------
    int or None
        How many; None for no limit.

    Raises
    ------
    NotEnoughMemory
        If not even one block at a time fits.
    UsageError
        If `memory` is given and the model does not say what it needs.
    """
    physical = physical_memory()
    budget = parse_memory(memory) if memory is not None else physical // 4 if physical is not None else None
    if budget is None or model.dataset.images.device.type != "cpu":
        return None
    need = predict_memory(model, size)
    if "thread" not in need:
        if memory is not None:
            raise UsageError(f"Score model '{name}' does not say what memory it needs; leave out `memory`.")
        return None
    fixed = sum(bytes_ for part, bytes_ in need.items() if part != "thread")
    threads = (budget - fixed) // max(1, need["thread"])
    if threads < 1:
        parts = ", ".join(f"{part} {bytes_ / 2**20:.0f} MiB" for part, bytes_ in need.items())
        raise NotEnoughMemory(
            f"This run needs {sum(need.values()) / 2**20:.0f} MiB ({parts}), more than the {budget / 2**20:.0f} MiB of "
            f"`memory`{'' if memory else ' (by default a quarter of what the machine has)'}; allow more, or make the "
            f"largest of these smaller: fewer training images, a smaller `batch_size`, `score.engine=compiled`."
        )
    return min(threads, torch.get_num_threads())
