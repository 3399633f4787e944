"""Arrays of .npy and .npz files: their headers first, then the rows that are wanted. Nothing is unpickled."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

import mosaic
from mosaic_data.stored_array import RowStream, StoredArray

__all__ = ["numpy_arrays"]

LONGEST_HEADER = 2**14  # bytes; that of an array of numbers has about a hundred
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second is that of an archive with no members

Header = tuple[tuple[int, ...], bool, "np.dtype[Any]"]


@contextmanager
def numpy_arrays(path: Path) -> Iterator[tuple[list[str], dict[str, StoredArray]]]:
    """Give the names of a file's arrays, and its arrays `images` and `labels`, unread; a .npy file is `images`.

    Raises
    ------
    DataError
        If an array holds objects, or is not as long as its header says.
    """
    with path.open("rb") as stream:
        is_archive = stream.read(4) in ZIP
    if not is_archive:
        yield ["images"], {"images": _of_file(path)}
        return
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        wanted = [name for name in ("images", "labels") if name in members]
        yield list(members), {name: _of_member(archive, members[name], name, path) for name in wanted}


def _of_file(path: Path) -> StoredArray:
    with path.open("rb") as stream:
        shape, is_fortran, dtype = _header(stream, "images", path)
        start, size = stream.tell(), path.stat().st_size
    _check_length(shape, dtype, size - start, "images", path)

    def opened() -> IO[bytes]:
        stream = path.open("rb")
        stream.seek(start)
        return stream

    direct = None if is_fortran else mosaic.FileRows(path, start, shape, dtype)
    return RowStream(shape, dtype, opened, is_fortran=is_fortran, can_seek=True, direct=direct)


def _of_member(archive: zipfile.ZipFile, member: str, name: str, path: Path) -> StoredArray:
    with archive.open(member) as stream:
        shape, is_fortran, dtype = _header(stream, name, path)
        start, size = stream.tell(), archive.getinfo(member).file_size
    _check_length(shape, dtype, size - start, name, path)

    def opened() -> IO[bytes]:
        stream = archive.open(member)
        stream.read(start)
        return stream

    direct = None
    if archive.getinfo(member).compress_type == zipfile.ZIP_STORED and not is_fortran:
        direct = mosaic.FileRows(path, _data_start(archive.getinfo(member), path) + start, shape, dtype)
    # The checksum of a member is compared where it ends; rows that are read where they lie are not checked.
    return RowStream(shape, dtype, opened, is_fortran=is_fortran, direct=direct)


def _data_start(member: zipfile.ZipInfo, path: Path) -> int:
    """Where the bytes of a member begin in the file: behind its header, its name and its extra field."""
    with path.open("rb") as stream:
        stream.seek(member.header_offset)
        name, extra = struct.unpack("<26xHH", stream.read(30))
    return int(member.header_offset + 30 + name + extra)


def _header(stream: IO[bytes], name: str, path: Path) -> Header:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"the array '{name}' is in version {version} of the format")
    packed = "<H" if version == (1, 0) else "<I"
    prefix = stream.read(struct.calcsize(packed))
    (length,) = struct.unpack(packed, prefix)
    if length > LONGEST_HEADER:
        raise ValueError(f"the header of the array '{name}' claims {length} bytes")
    shape, is_fortran, dtype = readers[version](io.BytesIO(prefix + stream.read(length)))
    if dtype.hasobject:
        raise mosaic.DataError(
            f"'{path}': the array '{name}' holds Python objects, which are never unpickled, since that can run code; "
            "save numbers, with a dtype such as uint8 or float32."
        )
    if min(shape, default=0) < 0:
        raise ValueError(f"the array '{name}' has the shape {shape}")
    return shape, is_fortran, dtype


def _check_length(shape: tuple[int, ...], dtype: np.dtype[Any], size: int, name: str, path: Path) -> None:
    """Compare what the header asks for with what is there, before any of it is read."""
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > size:
        raise mosaic.DataError(
            f"'{path}': the array '{name}' is {size} bytes long where its header, {dtype} of shape {shape}, asks for "
            f"{wanted}; it may be damaged: save it again."
        )
