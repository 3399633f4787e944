"""Arrays in files, read in pieces: what a header tells is known before anything is read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import mosaic

__all__ = ["Array", "Indices", "RowStream", "StoredArray", "pieces"]

Array = NDArray[Any]
Indices = NDArray[np.int64]

PIECE = 2**20
"""Bytes read at a time, about, so that memory is for what is kept."""


class StoredArray(ABC):
    """An array in a file.

    Attributes
    ----------
    shape, dtype
        As the file's header says.
    dims : tuple of str
        Names of the axes; empty where the file names none.
    held : int
        Bytes that reading takes besides what is asked for.
    is_direct : bool
        Whether `entries` can be read anywhere; else `rows` come in order only.
    opened : object
        What must not be closed as long as it is read; garbage collection closes it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dims: tuple[str, ...] = ()
    held: int = 0
    is_direct: bool = False
    opened: object = None

    def entries(self, first: int, last: int, axis: int = 0) -> Array:
        """Read the entries of an axis from `first` to before `last`, in any thread; the axis comes first."""
        raise NotImplementedError

    def check_written(self, least: float, most: float) -> None:  # noqa: B027
        """Refuse an array, all of whose values lie in these bounds, if nothing was ever written to it."""

    @abstractmethod
    def rows(self, chosen: Indices, axis: int = 0) -> Iterator[Array]:
        """Read the entries of an axis that are `chosen`, rising, a piece at a time; the axis comes first."""

    def whole(self) -> Array:
        """Read all of a one-dimensional array."""
        return np.concatenate([np.empty(0, self.dtype), *self.rows(np.arange(self.shape[0]))])


def pieces(count: int, row_bytes: int, chosen: Indices, together: int = 1) -> Iterator[tuple[int, int, Indices]]:
    """Cut `count` rows into pieces: yields the first row, the one after the last, and which of the piece are chosen.

    Each holds whole groups of `together` rows, which take as long to read as one of them.
    """
    step = max(1, PIECE // max(1, row_bytes) // together) * together
    for start in range(0, count, step):
        stop = min(start + step, count)
        first, last = np.searchsorted(chosen, (start, stop))
        yield start, stop, chosen[first:last] - start


class RowStream(StoredArray):
    """An array in C or Fortran order in a stream of bytes, such as a file or the member of an archive.

    Parameters
    ----------
    shape, dtype, is_fortran
        As the header says.
    opened : callable
        Opens the stream, at the first byte of the array.
    can_seek : bool
        Whether pieces can be left out. A stream that is checked as it is read must be read to its end.
    direct : mosaic.FileRows, optional
        The rows where they lie in a file, if they do, in C order.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        opened: Callable[[], AbstractContextManager[IO[bytes]]],
        *,
        is_fortran: bool = False,
        can_seek: bool = False,
        direct: mosaic.FileRows | None = None,
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self._direct, self.is_direct = direct, direct is not None
        self._opened, self._is_fortran, self._can_seek = opened, is_fortran, can_seek
        self.held = math.prod(shape) * dtype.itemsize if is_fortran else 0

    def rows(self, chosen: Indices, axis: int = 0) -> Iterator[Array]:
        """Read the chosen rows; `axis` must be 0."""
        if axis != 0:
            raise ValueError("only rows can be read from a stream")
        with self._opened() as stream:
            if self._is_fortran:
                yield self._read(stream, self.shape[::-1]).T[chosen]
                return
            row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
            for start, stop, inside in pieces(self.shape[0], row_bytes, chosen):
                if self._can_seek and len(inside) == 0:
                    stream.seek((stop - start) * row_bytes, 1)
                    continue
                piece = self._read(stream, (stop - start, *self.shape[1:]))
                if len(inside):
                    yield piece[inside]

    def entries(self, first: int, last: int, axis: int = 0) -> Array:
        """Read rows where they lie; `axis` must be 0."""
        if axis != 0 or self._direct is None:
            raise ValueError("only rows of files can be read anywhere")
        return self._direct.read(first, last)

    def _read(self, stream: IO[bytes], shape: tuple[int, ...]) -> Array:
        content = bytearray(math.prod(shape) * self.dtype.itemsize)
        view, done = memoryview(content), 0
        while done < len(content):
            # Archives read as much at a time as they are asked for, beside what they keep.
            count = stream.readinto(view[done : done + PIECE])  # type: ignore[attr-defined]
            if not count:
                raise EOFError(f"it ends {len(content) - done} bytes too early")
            done += count
        return np.frombuffer(content, self.dtype).reshape(shape)
