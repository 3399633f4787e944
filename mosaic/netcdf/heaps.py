"""The global heaps of an HDF5 file, which netCDF-4 files are, checked before the library reads them.

The library walks a heap from object to object, by their lengths. One of length 0, in a damaged file, keeps it walking
for ever, and no interrupt reaches it.

References: HDF5 File Format Specification 3.0, sec. III.E.
"""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["check_heaps"]

SIGNATURE = b"GCOL\x01\0\0\0"
HEADER = 16  # bytes of the header of a heap, and of an object
EDGE = 2**25
"""Of a large file only about so many bytes at either end are searched: heaps lie before or after the data."""


def check_heaps(path: Path) -> None:
    """Walk the global heaps of a file; one of another format has none.

    Raises
    ------
    ValueError
        If an object has no length.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        content = stream.read(min(size, 2 * EDGE))
        _walk_all(content)
        if size > len(content):
            stream.seek(max(len(content), size - EDGE))
            _walk_all(stream.read())


def _walk_all(content: bytes) -> None:
    at = content.find(SIGNATURE)
    while at >= 0:
        _walk(content, at)
        at = content.find(SIGNATURE, at + 1)


def _walk(content: bytes, start: int) -> None:
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
