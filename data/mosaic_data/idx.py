"""The idx format of MNIST: a big-endian header with the shape, then the bytes of the array."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import torch
from torch import Tensor

import mosaic

__all__ = ["read_idx"]

UINT8 = 8


def read_idx(path: Path, ndim: int) -> Tensor:
    """Read an idx file of `ndim` axes, or where it is not there its `.gz`.

    Returns
    -------
    Tensor, uint8
        Of the shape in the header.

    Raises
    ------
    DataError
        If the file is not such an array, or not as long as its header says.

    References: LeCun, Cortes & Burges, "The MNIST database", section "file formats".
    """
    packed = path.with_name(path.name + ".gz")
    file = path if path.is_file() else packed
    fix = "delete it, then run again with `download` or put a whole copy there"
    try:
        content = gzip.decompress(packed.read_bytes()) if file == packed else path.read_bytes()
    except Exception as error:  # gzip, zlib and the file system each raise kinds of their own
        raise mosaic.DataError(f"'{file}' cannot be read ({type(error).__name__}: {error}); {fix}.") from error
    start = 4 + 4 * ndim
    if len(content) < start or content[:4] != bytes((0, 0, UINT8, ndim)):
        raise mosaic.DataError(
            f"'{file}' ({len(content)} bytes) does not start with the header of an idx file of bytes with "
            f"{ndim} axes; {fix}."
        )
    shape = struct.unpack(f">{ndim}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise mosaic.DataError(f"'{file}' is {len(content)} bytes long where its header asks for {expected}; {fix}.")
    # frombuffer refuses an empty buffer, and warns about one that cannot be written.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:].reshape(shape)
