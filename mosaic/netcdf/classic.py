"""The header of a netCDF file in a classic format (CDF-1, 2 and 5), checked before the library reads it.

The library makes room for as many dimensions, attributes and variables as the header claims. In a damaged file these
can be billions, which takes minutes and all memory.

References: NetCDF Users Guide, appendix "File Format Specifications".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["check_classic_header"]

VERSIONS = (1, 2, 5)
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of a value of each type: byte, char, short, int, float, double, and unsigned and long ones."""


def check_classic_header(path: Path) -> None:
    """Walk the header of a file in a classic format; a file in another format passes.

    Raises
    ------
    ValueError
        If the header does not fit into the file.
    """
    with path.open("rb") as stream:
        magic = stream.read(4)
        if len(magic) == 4 and magic[:3] == b"CDF" and magic[3] in VERSIONS:
            _Header(stream, path.stat().st_size, magic[3]).walk()


class _Header:
    """The header, from behind the magic number on. Each entry has bytes of its own, so that walking ends."""

    def __init__(self, stream: IO[bytes], size: int, version: int) -> None:
        self._stream, self._size, self._version = stream, size, version

    def walk(self) -> None:
        self._number()  # of records
        self._each(self._dimension)
        self._each(self._attribute)
        self._each(self._variable)

    def _each(self, entry: Callable[[], None]) -> None:
        self._skip(4)  # the tag of the list
        for _ in range(self._number()):
            entry()

    def _dimension(self) -> None:
        self._skip(self._number())
        self._number()

    def _attribute(self) -> None:
        self._skip(self._number())
        size = SIZES.get(self._integer(4))
        if size is None:
            raise ValueError("an attribute is of no known type")
        self._skip(self._number() * size)

    def _variable(self) -> None:
        self._skip(self._number())
        for _ in range(self._number()):
            self._number()
        self._each(self._attribute)
        self._skip(4)  # type
        self._number()  # size
        self._integer(4 if self._version == 1 else 8)  # offset

    def _number(self) -> int:
        return self._integer(8 if self._version == 5 else 4)

    def _integer(self, width: int) -> int:
        content = self._stream.read(width)
        if len(content) < width:
            raise ValueError("the header is longer than the file")
        return int.from_bytes(content)

    def _skip(self, count: int) -> None:
        end = self._stream.tell() + count + -count % 4
        if end > self._size:
            raise ValueError("the header is longer than the file")
        self._stream.seek(end)
