"""Images decoded once into a file of the cache folder, which is then read in pieces."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import filelock
import numpy as np
from numpy.typing import NDArray

from mosaic.disk import facts
from mosaic.disk.atomic import make_folder, replacing
from mosaic.interfaces.file_images import FileImages

__all__ = ["Decoded", "cached_images"]


class Decoded(NamedTuple):
    """What decoding gives.

    Attributes
    ----------
    shape : (int, int, int, int)
        N, C, H, W.
    dtype : dtype
        Of the pixels.
    blocks : iterable of ndarray (n, C, H, W)
        All images in order; they are decoded as these are asked for.
    about : callable
        Called when all are decoded: what else is to be known of them, of JSON.
    """

    shape: tuple[int, int, int, int]
    dtype: Any
    blocks: Iterable[NDArray[Any]]
    about: Callable[[], dict[str, Any]] = dict


def cached_images(
    key: Mapping[str, Any], decode: Callable[[], Decoded], range: tuple[float, float] | None = None
) -> tuple[FileImages, dict[str, Any]]:
    """Give what `decode` gives as images that are read in pieces, from the cache folder where it was decoded before.

    One process decodes, others wait for it. A file that is damaged, or half written, is decoded again.

    Parameters
    ----------
    key : mapping
        Everything that decides the images, JSON-serialisable: such as names, sizes and times of change of files.
    decode : callable
        Begins to decode.
    range : (float, float), optional
        As for `ImageSource`.

    Returns
    -------
    images : ImageSource
        With an identity.
    about : dict
        As `Decoded.about` gave it.

    Raises
    ------
    WriteError
        If they cannot be written.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = facts.cache_folder() / "images"
    make_folder(folder)
    path, notes = folder / f"{name}.npy", folder / f"{name}.json"
    kept = _kept(path, notes, has_time=True)
    if kept is None:
        with filelock.FileLock(folder / f"{name}.lock"):
            kept = _kept(path, notes, has_time=False) or _written(path, notes, decode())
    images = FileImages.of_npy(path, range, identity=f"decoded {name} {kept['sha256']} {range}")
    return images, dict(kept["about"])


def _kept(path: Path, notes: Path, has_time: bool) -> dict[str, Any] | None:
    """What is noted of a file, if it is the file that was written: by its time of change, else by its digest."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept: dict[str, Any] = json.loads(notes.read_bytes())
        status = path.stat()
        if status.st_size != kept["size"] or not isinstance(kept["about"], dict):
            return None
        if status.st_mtime_ns == kept["time"]:
            return kept
        if not has_time and _sha256(path) == kept["sha256"]:
            kept["time"] = status.st_mtime_ns
            _note(notes, kept)
            return kept
    return None


def _written(path: Path, notes: Path, decoded: Decoded) -> dict[str, Any]:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(decoded.dtype)), "fortran_order": False}
    with replacing(path) as temporary:
        with temporary.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {**header, "shape": decoded.shape})
            _fill(stream, decoded)
        digest = _sha256(temporary)
    status = path.stat()
    kept = {"sha256": digest, "size": status.st_size, "time": status.st_mtime_ns, "about": decoded.about()}
    _note(notes, kept)
    return kept


def _fill(stream: IO[bytes], decoded: Decoded) -> None:
    left = math.prod(decoded.shape)
    for block in decoded.blocks:
        if block.shape[1:] != decoded.shape[1:] or block.dtype != decoded.dtype:
            raise ValueError(f"a block is {block.dtype} of shape {block.shape}, not as declared: {decoded.shape}")
        stream.write(np.ascontiguousarray(block).data)
        left -= block.size
    if left:
        raise ValueError(f"there are {-left} values too many")


def _note(notes: Path, kept: Mapping[str, Any]) -> None:
    with replacing(notes) as temporary:
        temporary.write_text(json.dumps(kept), encoding="ascii")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
