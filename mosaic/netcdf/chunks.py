"""The chunk indices of an HDF5 file, which netCDF-4 files are, checked before the library reads values by them.

Stored values have checksums, and so have the headers of variables. The index that says where each chunk of a variable
lies, and which filters it went through, has none. Where it is damaged, the library gives chunks at another place, fill
values, or what a filter made, and says nothing.

Only indices of the form that the netCDF library writes are checked: B-trees of version 1 below headers of version 2.

References: HDF5 File Format Specification 3.0, sec. III.A.1, IV.A.1.b and IV.A.2.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic.netcdf.heaps import found, is_hdf5

__all__ = ["check_chunks"]

HEADER, CONTINUATION, NODE = b"OHDR\x02", b"OCHK", b"TREE\x01"
DATASPACE, LAYOUT, FILTERS, CONTINUED = 0x01, 0x08, 0x0B, 0x10
DEFLATE = 1


@dataclass(frozen=True)
class _Chunked:
    """A variable in chunks: its shape, the chunks', bytes of a value, ids of its filters, where its index is."""

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    size: int
    filters: tuple[int, ...]
    index: int


def check_chunks(path: Path) -> None:
    """Walk the indices of all variables in chunks; a file of another format has none.

    Raises
    ------
    ValueError
        If a variable's chunks are not all there, each once, or one went through other filters than the variable has.
    """
    with path.open("rb") as stream:
        if not is_hdf5(stream):
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for at in found(content, HEADER):
                try:
                    variable = _variable(content, at)
                except (struct.error, IndexError):  # these bytes only look like a header, which has a checksum
                    continue
                if variable is not None:
                    try:
                        _check(content, variable)
                    except (struct.error, IndexError, ArithmeticError):
                        raise ValueError("the index of its chunks cannot be read") from None


def _variable(content: mmap.mmap, at: int) -> _Chunked | None:
    """Read the header of a variable; None for what is no variable in chunks with an index of version 1."""
    messages = dict(_messages(content, at))
    layout, space, pipeline = (messages.get(kind, b"") for kind in (LAYOUT, DATASPACE, FILTERS))
    if layout[:2] != b"\x03\x02" or space[:1] != b"\x02":
        return None
    rank = layout[2] - 1
    (index,) = struct.unpack_from("<Q", layout, 3)
    *chunk, size = struct.unpack_from(f"<{rank + 1}I", layout, 11)
    shape = struct.unpack_from(f"<{space[1]}Q", space, 4)
    return _Chunked(shape, tuple(chunk), size, tuple(_filters(pipeline)), index)


def _messages(content: mmap.mmap, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of a header's messages, those in its continuations too."""
    flags = content[at + 5]
    place = at + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
    width = 1 << (flags & 3)
    blocks = [(place + width, int.from_bytes(content[place : place + width], "little"))]
    front, seen = 6 if flags & 0x04 else 4, 0
    while seen < len(blocks) < 1000:
        start, length = blocks[seen]
        seen, place = seen + 1, start
        while place + front <= start + length:
            kind, size = struct.unpack_from("<BH", content, place)
            message = content[place + front : place + front + size]
            place += front + size
            if kind == CONTINUED:
                offset, extent = struct.unpack_from("<QQ", message)
                if content[offset : offset + 4] == CONTINUATION:
                    blocks.append((offset + 4, extent - 8))  # without signature and checksum
            yield kind, message


def _filters(pipeline: bytes) -> Iterator[int]:
    """Yield the ids of the filters in a message of version 2."""
    if pipeline[:1] != b"\x02":
        return
    place = 2
    for _ in range(pipeline[1]):
        (kind,) = struct.unpack_from("<H", pipeline, place)
        named = kind >= 256
        name = struct.unpack_from("<H", pipeline, place + 2)[0] if named else 0
        (values,) = struct.unpack_from("<H", pipeline, place + 4 + 2 * named)
        yield kind
        place += 6 + 2 * named + name + 4 * values


def _check(content: mmap.mmap, variable: _Chunked) -> None:
    whole = math.prod(-(-end // step) for end, step in zip(variable.shape, variable.chunk, strict=True))
    if whole == 0:
        return
    nodes, seen = [variable.index], set()
    leaves = []
    while nodes:
        at = nodes.pop()
        if at in seen or content[at : at + 5] != NODE:
            raise ValueError("the index of its chunks has a node that cannot be")
        seen.add(at)
        level, entries = _node(content, at, len(variable.chunk))
        if level:
            nodes += entries["child"].tolist()
        else:
            leaves.append(entries)
    chunks = np.concatenate(leaves)
    steps, ends = np.array([*variable.chunk, 1], np.uint64), np.array([*variable.shape, 1], np.uint64)
    inside = (chunks["place"] % steps == 0) & (chunks["place"] < ends)
    # A chunk that deflating would make larger is stored as it is; no other filter may be left out.
    plain = math.prod(variable.chunk) * variable.size
    may_be = sum(1 << place for place, kind in enumerate(variable.filters) if kind == DEFLATE)
    filtered = (chunks["mask"] == 0) | ((chunks["mask"] == may_be) & (chunks["stored"] >= plain))
    if not (inside.all() and filtered.all() and len(chunks) == whole == len(np.unique(chunks["place"], axis=0))):
        raise ValueError("the index of its chunks names others than it has")


def _node(content: mmap.mmap, at: int, rank: int) -> tuple[int, NDArray[Any]]:
    """Level and entries of a node: stored bytes, filter mask and place of a chunk, and where it or the next node is."""
    entry = np.dtype([("stored", "<u4"), ("mask", "<u4"), ("place", "<u8", (rank + 1,)), ("child", "<u8")])
    level, count = struct.unpack_from("<BH", content, at + 5)
    start = at + 24  # behind the signature, the type, these two, and the nodes beside it
    if start + count * entry.itemsize > len(content):
        raise ValueError("the index of its chunks ends outside the file")
    return level, np.frombuffer(content[start : start + count * entry.itemsize], entry)
