"""Images in arrays that are sliced, and in files, whose rows are read where they lie by any number of threads."""

from __future__ import annotations

import io
import math
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mosaic.disk.facts import file_state
from mosaic.errors import DataError
from mosaic.interfaces.image_source import ImageSource

__all__ = ["ArrayImages", "FileImages", "FileRows"]


class FileRows:
    """An array in C order in a file, read by rows. It can be pickled, as it opens the file for each read.

    A map of the file into memory would count as memory of the process, and a file that is cut off would end it.

    Parameters
    ----------
    path : Path
        The file.
    start : int
        Where the array begins, in bytes.
    shape, dtype
        Of the array.

    Attributes
    ----------
    shape, dtype
        As given.
    """

    def __init__(self, path: Path, start: int, shape: Sequence[int], dtype: DTypeLike) -> None:
        self.path, self.start, self.shape, self.dtype = path.absolute(), start, tuple(shape), np.dtype(dtype)
        self._bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._state = file_state(self.path)

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Read the rows from `first` to before `last`.

        Raises
        ------
        DataError
            If the file cannot be read, or has changed since it was opened.
        """
        rows = np.empty((last - first, *self.shape[1:]), self.dtype)
        view, done = memoryview(rows.reshape(-1).view(np.uint8).data), 0
        try:
            if file_state(self.path) != self._state:
                raise DataError(f"'{self.path}' has changed since it was opened; start again.")
            with self.path.open("rb", buffering=0) as stream:
                stream.seek(self.start + first * self._bytes, io.SEEK_SET)
                while done < len(view):
                    count = stream.readinto(view[done:])
                    if not count:
                        raise DataError(f"'{self.path}' ends too early; it may be damaged.")
                    done += count
        except OSError as error:
            raise DataError(f"'{self.path}' cannot be read ({error.strerror}).") from None
        return rows


class FileImages(ImageSource):
    """Images (N, C, H, W) in C order in a file.

    Parameters
    ----------
    rows : FileRows
        Of four axes.
    range : (float, float), optional
        As for `ImageSource`.
    identity : str, optional
        What decides the images.
    """

    def __init__(self, rows: FileRows, range: tuple[float, float] | None = None, identity: str | None = None) -> None:
        super().__init__(rows.shape, rows.dtype, range)
        self._rows, self._identity = rows, identity

    @classmethod
    def of_npy(cls, path: Path, range: tuple[float, float] | None = None, identity: str | None = None) -> Self:
        """Open a .npy file of the first version of the format, in C order."""
        with path.open("rb") as stream:
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            return cls(FileRows(path, stream.tell(), shape, dtype), range, identity)

    @property
    def identity(self) -> str | None:
        """As given."""
        return self._identity

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Read a block where it lies."""
        return self._rows.read(first, last)


class ArrayImages(ImageSource):
    """Images in an array that gives numpy arrays when it is sliced, such as a memory-mapped one.

    Parameters
    ----------
    array : array-like (N, C, H, W)
        With `shape`, `dtype` and slices along its first axis. It must not change while it is used. Several threads
        slice it at a time.
    range : (float, float), optional
        As for `ImageSource`.
    """

    def __init__(self, array: Any, range: tuple[float, float] | None = None) -> None:
        super().__init__(array.shape, np.dtype(array.dtype).newbyteorder("="), range)
        self._array = array

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Copy a slice; pages of a mapped file are let go, as memory would grow with what was read."""
        copied = np.array(self._array[first:last], dtype=self.stored, subok=False)
        mapped = _map_of(self._array)
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)
        return copied


def _map_of(array: Any) -> mmap.mmap | None:
    """The map of a file that an array lies in; None where its pages cannot be let go, or hold changes of their own."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.mode == "c":
            return None
        array = array.base
    return array if isinstance(array, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None
