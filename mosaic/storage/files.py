"""Files: written atomically, held by one process at a time, opened by their schema."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import xarray as xr

from mosaic.device import interrupts_held
from mosaic.errors import DataError, MosaicError, UsageError
from mosaic.netcdf.access import open_netcdf, store_netcdf
from mosaic.netcdf.chunks import check_chunks
from mosaic.storage.failures import WriteError, cause_of, write_error
from mosaic.storage.schema import check_stored

__all__ = [
    "LOCK",
    "OutputInUse",
    "as_attribute",
    "check_free",
    "check_writable",
    "flush",
    "is_temporary",
    "locked",
    "make_folder",
    "open_stored",
    "remove_temporaries",
    "replacing",
    "store",
    "unused_folder",
    "unused_path",
    "write_netcdf",
    "writing",
]

LOCK = ".lock"
TEMPORARY = (".mosaic-", ".tmp")  # how names of temporary folders start and end


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
def replacing(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary path that becomes `path` if the block succeeds: readers see the old file, or the new one whole.

    It is in a new folder that nobody else can write to, so that no link planted there is followed. It counts only
    when it is on the disk.

    Parameters
    ----------
    overwrite : bool
        Whether a file that is there by then may be replaced.

    Raises
    ------
    WriteError
        If it cannot be written, or may not be replaced.
    """
    with writing(path):
        remove_temporaries(path.parent)
        with _own_folder(path) as folder:
            temporary = folder / path.name
            yield temporary
            flush(temporary)
            _move(temporary, path, overwrite)
        flush(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says when `path` cannot be written into a sentence.

    Raises
    ------
    WriteError
        If the block raises an OSError.
    """
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from None


@contextmanager
def _own_folder(path: Path) -> Iterator[Path]:
    """Make a temporary folder beside `path`, lock it until the block ends, and then remove it."""
    while True:
        with ExitStack() as stack:
            with interrupts_held():  # an interrupt in between would leave it, as a kill does
                folder = Path(tempfile.mkdtemp(prefix=TEMPORARY[0], suffix=TEMPORARY[1], dir=path.parent))
                stack.callback(_remove, folder)
            if _lock_new(folder, path, stack):
                yield folder
                return


def _lock_new(folder: Path, work: Path, stack: ExitStack) -> bool:
    """Lock a new folder until the stack ends; False if another writer took it for what a kill had left, and removed it.

    That can only happen until it is locked. The lock of a folder that is gone would be made in another one.
    """
    try:
        made = folder.stat()
        stack.enter_context(locked(folder, work))
        return (folder / LOCK).exists() and os.path.samestat(made, folder.stat())
    except (FileNotFoundError, OutputInUse):
        return False
    except WriteError:
        if folder.exists():
            raise
        return False


def _remove(folder: Path) -> None:
    with interrupts_held():
        shutil.rmtree(folder, ignore_errors=True)


def _move(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)  # unlike a check before a move, this cannot replace what appears in between
    except FileExistsError:
        raise WriteError(f"'{path}' was made meanwhile, and is not replaced; move it, or use `overwrite`.") from None
    except OSError:  # a file system without links
        if path.exists():
            raise WriteError(f"'{path}' was made meanwhile, and is not replaced.") from None
        temporary.replace(path)


def is_temporary(path: Path) -> bool:
    """Whether a path has a name as `replacing` gives to its temporary folders."""
    return path.name.startswith(TEMPORARY[0]) and path.name.endswith(TEMPORARY[1])


def remove_temporaries(folder: Path) -> None:
    """Remove the temporary folders that killed writers have left in `folder`: nobody holds their locks."""
    for left in folder.glob("*".join(TEMPORARY)):
        if left.is_symlink():
            continue
        with suppress(OSError, MosaicError):
            with locked(left, left):
                shutil.rmtree(left, ignore_errors=True)  # follows no links either
            left.rmdir()  # Windows does not remove a folder with a lock in it


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir():
        if os.name == "nt":
            return
        descriptor = os.open(path, os.O_RDONLY)
    else:
        descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # not every file system can for folders
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises
    ------
    WriteError
        If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None


def write_netcdf(dataset: xr.Dataset, path: Path, overwrite: bool = True) -> None:
    """Write `dataset` to `path` atomically; arguments and errors as for `replacing`."""
    with replacing(path, overwrite) as temporary:
        store(dataset, temporary)


def store(dataset: xr.Dataset, temporary: Path) -> None:
    """Write `dataset` to a temporary path of `replacing`, compressed, in chunks of whole trajectories."""
    encoding: dict[str, dict[str, Any]] = {}
    for name, stored in dataset.variables.items():
        if stored.ndim and stored.size and stored.dtype.kind in "biuf":
            encoding[str(name)] = {"fletcher32": True, "chunksizes": stored.shape}  # damage is found when it is read
    for name, variable in dataset.data_vars.items():
        chunks = (1, *variable.shape[1:]) if variable.dims[:1] == ("sample",) else variable.shape
        compressed = {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunks}
        encoding[str(name)] = {**encoding.get(str(name), {}), **compressed}
    try:
        store_netcdf(dataset, temporary, encoding)
    except (OSError, RuntimeError) as error:
        raise cause_of(error, temporary, dataset.nbytes) from None


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
        with interrupts_held():
            _acquire(lock, folder, work)
        yield
    finally:
        if lock.is_locked:
            with interrupts_held():
                with suppress(OSError):  # Windows cannot remove an open file; elsewhere filelock notices
                    (folder / LOCK).unlink()
                lock.release()


def _acquire(lock: filelock.BaseFileLock, folder: Path, work: Path) -> None:
    try:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:  # also where its file cannot be made
            if not (folder / LOCK).exists():
                tempfile.TemporaryFile(dir=folder).close()
            raise OutputInUse(f"another process is working on '{work}'; wait for it, or use another `out`.") from None
    except OSError as error:
        raise write_error(work, error) from None


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
    lost = path.is_symlink() and not path.exists()  # a link to nothing, which would only be noticed at the end
    closed = not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK))
    if lost or closed or path.is_dir():
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
    stored = open_netcdf(path)
    schema = str(stored.attrs.get("schema", ""))
    if schema not in schemas:
        stored.close()
        raise DataError(f"'{path}' is not {what}: its schema is '{schema}', not {' or '.join(map(repr, schemas))}.")
    try:
        check_stored(stored)
        check_chunks(path)
    except ValueError as error:
        stored.close()
        raise DataError(f"'{path}' is damaged: {error}.") from None
    return stored
