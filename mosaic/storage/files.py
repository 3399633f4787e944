"""Files: their names, whether they can be written, and how they are stored and opened by their schema."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.containers.access import is_there, is_zarr, open_container, root_of_store, zarr_library
from mosaic.disk.atomic import replacing, writing
from mosaic.disk.failures import WriteError, cause_of, write_error
from mosaic.errors import DataError, UsageError
from mosaic.netcdf.access import library_path, store_netcdf
from mosaic.netcdf.chunks import check_chunks
from mosaic.netcdf.joining import write_joined
from mosaic.storage.indexes import indexed
from mosaic.storage.schema import TABLES, check_stored

__all__ = [
    "as_attribute",
    "check_free",
    "check_reachable",
    "check_writable",
    "encodings",
    "is_own_store",
    "open_as_written",
    "open_stored",
    "reusing",
    "store",
    "store_joined",
    "unused_folder",
    "unused_path",
    "write_netcdf",
]


def unused_path(folder: Path, name: str = "run", endings: Sequence[str] = (".nc", ".nc.parts", ".png")) -> Path:
    """Give the first of NAME-001.nc, NAME-002.nc, ... of whose `endings` there is no file in `folder`."""
    number = 1
    while any((folder / f"{name}-{number:03d}{end}").exists() for end in endings):
        number += 1
    return folder / f"{name}-{number:03d}.nc"


def unused_folder(name: str) -> Path:
    """Give the first of NAME, NAME-2, NAME-3, ... that is not in the current folder."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{name}-{number}")
    return path


def write_netcdf(dataset: xr.Dataset, path: Path, overwrite: bool = True) -> None:
    """Write `dataset` to `path` atomically; arguments and errors as for `replacing`."""
    with replacing(path, overwrite) as temporary:
        store(dataset, temporary)


def store(dataset: xr.Dataset, temporary: Path) -> None:
    """Write `dataset` to a temporary path of `replacing`, compressed, in chunks of whole trajectories."""
    try:
        store_netcdf(dataset, temporary, encodings(dataset))
    except (OSError, RuntimeError) as error:
        raise cause_of(error, temporary, dataset.nbytes) from None


def encodings(dataset: xr.Dataset, samples: int | None = None) -> dict[str, dict[str, Any]]:
    """How the netCDF library stores each variable of `dataset`, or of one of its kind with so many samples."""
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        shape = [samples if axis == "sample" and samples else size for axis, size in variable.sizes.items()]
        numeric = bool(shape) and math.prod(shape) > 0 and variable.dtype.kind in "biuf"
        kept: dict[str, Any] = {"fletcher32": True, "chunksizes": tuple(shape)} if numeric else {}
        if name in dataset.data_vars:
            chunks = (1, *shape[1:]) if variable.dims[:1] == ("sample",) else tuple(shape)
            kept |= {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunks}
        if kept:  # with a checksum, damage is found when it is read
            encoding[str(name)] = kept
    return encoding


def store_joined(
    first: xr.Dataset, parts: Iterable[Path], samples: int, temporary: Path, attributes: Mapping[str, str]
) -> None:
    """Write files of parts as one, to a temporary path of `replacing`, a part at a time; `first` is the first of them.

    The file is the one that `store` writes of the parts joined in memory.

    Raises
    ------
    ValueError
        If the parts do not fit together.
    """
    root = {**first.attrs, **attributes}
    try:
        write_joined(parts, temporary, "sample", samples, encodings(first, samples), root)
    except (OSError, RuntimeError) as error:
        raise cause_of(error, temporary, first.nbytes) from None


def as_attribute(value: Any) -> str:
    """Write a root attribute as JSON: netCDF attributes cannot hold null, bool or mappings."""
    return json.dumps(value)


def check_reachable(path: Path, *, also: Sequence[Path] = ()) -> None:
    """Refuse a place for netCDF files that the system does not even look up, or the netCDF library cannot be told.

    A name is too long or holds a backslash, or a folder is closed. `also` are other files, such as temporary ones, that
    writing it takes.

    Raises
    ------
    WriteError
        With the reason.
    """
    for each in (path, *also):
        _look_up(each, path)
    try:
        library_path(path)
    except DataError as error:
        raise WriteError(f"`out`: {error}") from None


def _look_up(path: Path, what: Path) -> None:
    with writing(what), suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse a path that is taken, unless it may be replaced."""
    _look_up(path, path)
    if path.exists() and not overwrite:
        raise UsageError(f"'{path}' exists already; move it, use `overwrite` to replace it, or another `out`.")


def check_writable(path: Path, endings: Sequence[str] = (".nc",)) -> None:
    """Refuse a path that cannot be written, before anything is computed; it must have one of the `endings`."""
    if path.suffix not in endings:
        runs = "; only runs may be Zarr stores" if is_zarr(path) else ""
        others = ", or in .zarr for a Zarr store" if len(endings) > 1 else ""
        raise UsageError(f"`out` '{path}' must end in .nc: it is one netCDF file{others}{runs}.")
    if not path.parent.is_dir():
        raise UsageError(f"`out` '{path}': there is no folder '{path.parent}'; make it first.")
    if not os.access(path.parent, os.W_OK):
        is_fixed = hasattr(os, "statvfs") and os.statvfs(path.parent).f_flag & os.ST_RDONLY
        number = errno.EROFS if is_fixed else errno.EACCES
        raise write_error(path, OSError(number, os.strerror(number)))
    if is_zarr(path):
        zarr_library()
        if path.is_symlink() or (path.exists() and not is_own_store(path)):
            raise UsageError(f"`out` '{path}' is a link, or no Zarr store of mosaic; it is not replaced: move it.")
        return
    lost = path.is_symlink() and not path.exists()  # a link to nothing, which would only be noticed at the end
    if lost or path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"`out` '{path}' cannot be written; choose another place.")


def is_own_store(path: Path) -> bool:
    """Whether there is a Zarr store of mosaic, which may be replaced where that is asked for; a link to one is none."""
    return root_of_store(path).get("schema") in TABLES


@contextmanager
def reusing(way_out: str = "Remove it to compute it again.") -> Iterator[None]:
    """Say how to go on where something stored is damaged that would be used again.

    Raises
    ------
    DataError
        If the block does.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{error} {way_out}") from None


def open_stored(path: Path, schemas: Sequence[str], what: str) -> xr.Dataset:
    """Open a netCDF file or a Zarr store that `mosaic` wrote, lazily, a run as `indexed` gives it.

    Raises
    ------
    DataError
        If there is no such file, or its root has none of `schemas`; the message says that it is not `what`.
    """
    return indexed(open_as_written(path, schemas, what))


def open_as_written(path: Path, schemas: Sequence[str], what: str) -> xr.Dataset:
    """Open a stored result as `open_stored` does, without what that adds to runs; errors likewise."""
    try:
        if path.is_dir() and not is_zarr(path):
            raise DataError(f"'{path}' is a folder, not {what}.")
        if not is_there(path):
            parts = path.with_name(path.name + ".parts")
            started = f"; '{parts}' holds unfinished work: start it again with `resume`" if parts.exists() else ""
            raise DataError(f"There is no {'store' if is_zarr(path) else 'file'} '{path}'{started}.")
    except OSError as error:  # a name is too long, or a folder is closed
        raise DataError(f"'{path}' cannot be read ({error.strerror}).") from None
    stored = open_container(path)
    schema = str(stored.attrs.get("schema", ""))
    if schema not in schemas:
        stored.close()
        raise DataError(
            f"'{path}' is not {what}: its schema is '{schema}', not {' or '.join(map(repr, schemas))}; "
            f"{'xarray.open_zarr' if is_zarr(path) else 'mosaic.open_netcdf'} opens any."
        )
    try:
        check_stored(stored)
        if not is_zarr(path):
            check_chunks(path)
    except ValueError as error:
        stored.close()
        raise DataError(f"'{path}' is damaged: {error}.") from None
    return stored
