"""Files: written atomically, held by one process at a time, opened by their schema."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import xarray as xr

from mosaic.errors import DataError, UsageError

__all__ = [
    "LOCK",
    "OutputInUse",
    "as_attribute",
    "check_free",
    "check_writable",
    "locked",
    "open_stored",
    "replacing",
    "unused_folder",
    "unused_path",
    "write_netcdf",
]

LOCK = ".lock"


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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path that replaces `path` if the block succeeds: readers see the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")  # a fixed name: the next writer replaces what a kill left
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written ({error.strerror or error}); choose another place.") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write `dataset` to `path` atomically, compressed, in chunks of whole trajectories."""
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.data_vars.items():
        chunks = (1, *variable.shape[1:]) if variable.dims[:1] == ("sample",) else variable.shape
        encoding[str(name)] = {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunks}
    with replacing(path) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)


class OutputInUse(UsageError):
    """Another process is working on this output, or started it between the check and the start."""


@contextmanager
def locked(folder: Path, work: Path) -> Iterator[None]:
    """Lock a folder against other processes; the system releases the lock when this process ends.

    Raises
    ------
    OutputInUse
        If another process holds it, with `work` for what it is working on.
    """
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise OutputInUse(f"another process is working on '{work}'; wait for it, or use another `out`.") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows cannot remove an open file; elsewhere filelock notices that it is gone
            (folder / LOCK).unlink()
        lock.release()


def as_attribute(value: Any) -> str:
    """Write a root attribute as JSON: netCDF attributes cannot hold null, bool or mappings."""
    return json.dumps(value)


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse a path that is taken, unless it may be replaced."""
    if path.exists() and not overwrite:
        raise UsageError(f"'{path}' exists already; use `overwrite` to replace it, or another `out`.")


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before anything is computed."""
    if path.suffix != ".nc":
        raise UsageError(f"`out` '{path}' must end in .nc: it is one netCDF file.")
    if not path.parent.is_dir():
        raise UsageError(f"`out` '{path}': there is no folder '{path.parent}'; make it first.")
    if path.is_dir() or not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"`out` '{path}' cannot be written; choose another place.")


def open_stored(path: Path, schemas: Sequence[str], what: str) -> xr.Dataset:
    """Open a netCDF file that `mosaic` wrote, lazily.

    Raises
    ------
    DataError
        If there is no such file, or its root has none of `schemas`; the message says that it is not `what`.
    """
    if path.is_dir():
        raise DataError(f"'{path}' is a folder, not {what}.")
    if not path.is_file():
        parts = path.with_name(path.name + ".parts")
        started = f"; '{parts}' holds unfinished work: start it again with `resume`" if parts.exists() else ""
        raise DataError(f"There is no file '{path}'{started}.")
    try:
        stored = xr.open_dataset(path, engine="netcdf4")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"'{path}' is not a readable netCDF file ({reason}).") from None
    schema = str(stored.attrs.get("schema", ""))
    if schema not in schemas:
        stored.close()
        raise DataError(f"'{path}' is not {what}: its schema is '{schema}', not {' or '.join(map(repr, schemas))}.")
    return stored
