"""The global heaps of an HDF5 file, which netCDF-4 files are, checked before the library reads them.

The library walks a heap from object to object, by their lengths. One of length 0, in a damaged file, keeps it walking
for ever, and no interrupt reaches it.

References: HDF5 File Format Specification 3.0, sec. III.E.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["check_heaps", "found", "is_hdf5"]

HDF5 = b"\x89HDF\r\n\x1a\n"
SIGNATURE = b"GCOL\x01\0\0\0"
HEADER = 16  # bytes of the header of a heap, and of an object
EDGE = 2**25
"""Of a large file only about so many bytes at either end are searched: heaps and headers lie beside the data."""


def check_heaps(path: Path) -> None:
    """Walk the global heaps of a file; one of another format has none.

    Raises
    ------
    ValueError
        If an object has no length.
    """
    with path.open("rb") as stream:
        if not is_hdf5(stream):
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for at in found(content, SIGNATURE):
                _walk(content, at)


def found(content: mmap.mmap, signature: bytes) -> Iterator[int]:
    """Yield where a signature is, at either end of a file."""
    size = len(content)
    for first, end in ((0, min(size, 2 * EDGE)), (max(2 * EDGE, size - EDGE), size)):
        at = content.find(signature, first, end)
        while at >= 0:
            yield at
            at = content.find(signature, at + 1, end)


def is_hdf5(stream: IO[bytes]) -> bool:
    """Whether the file has HDF5's own signature where it may be: at 0, 512, 1024, 2048, ..."""
    size, place = stream.seek(0, os.SEEK_END), 0
    while place + len(HDF5) <= size:
        stream.seek(place)
        if stream.read(len(HDF5)) == HDF5:
            return True
        place = max(512, 2 * place)
    return False


def _walk(content: mmap.mmap, start: int) -> None:
    place = start + HEADER
    if place > len(content):
        return
    (length,) = struct.unpack_from("<Q", content, start + 8)
    end = min(start + length, len(content))
    while place + HEADER <= end:
        index, size = struct.unpack_from("<H6xQ", content, place)
        # Free space counts its own header; objects are padded to 8 bytes, in a sum that may overflow.
        step = size if index == 0 else (HEADER + size + -size % 8) % 2**64
        if step < HEADER:
            raise ValueError("an object in a global heap has no length")
        place += step
