"""The idx format of MNIST: a big-endian header with the shape, then the bytes of the array."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

import mosaic
from mosaic_data.stored_array import Indices, RowStream
from mosaic_data.text import error_line

__all__ = ["IdxFile"]

UINT8 = 8


class IdxFile:
    """An idx file of bytes, or where it is not there its `.gz`; only the header is read at first.

    Parameters
    ----------
    path : Path
        The file, without `.gz`.
    ndim : int
        How many axes it must have.

    Attributes
    ----------
    shape : tuple of int
        As the header says.
    file : Path
        The file there is.

    Raises
    ------
    DataError
        If the file is not such an array, or not as long as its header says.

    References: LeCun, Cortes & Burges, "The MNIST database", section "file formats".
    """

    def __init__(self, path: Path, ndim: int) -> None:
        packed = path.with_name(path.name + ".gz")
        self.file = path if path.is_file() else packed
        self._start = 4 + 4 * ndim
        with self._errors(), self._opened() as stream:
            header = stream.read(self._start)
        size = self.file.stat().st_size
        if len(header) < self._start or header[:4] != bytes((0, 0, UINT8, ndim)):
            raise self._error(f"({size} bytes) does not start with the header of an idx file of bytes with {ndim} axes")
        self.shape: tuple[int, ...] = struct.unpack(f">{ndim}I", header[4:])
        expected = self._start + math.prod(self.shape)
        if not self._is_packed and size != expected:
            raise self._error(f"is {size} bytes long where its header asks for {expected}")

    @property
    def _is_packed(self) -> bool:
        return self.file.suffix == ".gz"

    def read(self, chosen: Indices | None = None) -> Tensor:
        """Read the entries of the first axis that are `chosen`, rising; by default all.

        Returns
        -------
        Tensor, uint8
        """
        with self._errors():
            return self._read(np.arange(self.shape[0]) if chosen is None else chosen)

    def _read(self, chosen: Indices) -> Tensor:
        array = torch.empty(len(chosen), *self.shape[1:], dtype=torch.uint8, device="cpu")
        stored = RowStream(self.shape, np.dtype(np.uint8), self._at_rows, can_seek=not self._is_packed)
        done = 0
        for rows in stored.rows(chosen):
            array[done : done + len(rows)] = torch.from_numpy(rows)
            done += len(rows)
        return array

    def _opened(self) -> IO[bytes]:
        return gzip.open(self.file) if self._is_packed else self.file.open("rb")  # type: ignore[return-value]

    @contextmanager
    def _at_rows(self) -> Iterator[IO[bytes]]:
        with self._opened() as stream:
            stream.seek(self._start)
            yield stream
            # The checksum of a packed file is compared where it ends.
            if self._is_packed and stream.read(1):
                raise self._error(f"is longer than the {self._start + math.prod(self.shape)} bytes its header asks for")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except mosaic.MosaicError:
            raise
        except Exception as error:  # gzip, zlib and the file system each raise kinds of their own
            raise self._error(f"cannot be read ({error_line(error)})") from error

    def _error(self, what: str) -> mosaic.DataError:
        return mosaic.DataError(
            f"'{self.file}' {what}; delete it, then run again with `download` or put a whole copy there."
        )
