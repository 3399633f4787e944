"""netCDF files: opened, read and written so that no interrupt lands where the library holds its locks.

xarray serialises all access to the netCDF and HDF5 libraries by locks. A KeyboardInterrupt that lands between taking
one and the block that releases it leaves it taken, and whatever comes next, even closing the file, waits for ever.
"""

from __future__ import annotations

import _thread
import inspect
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import xarray as xr
from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK, combine_locks

from mosaic.device import interrupts_held
from mosaic.errors import DataError
from mosaic.netcdf.classic import check_classic_header
from mosaic.netcdf.heaps import check_heaps

__all__ = ["exclusive", "library_path", "open_netcdf", "store_netcdf"]

LIBRARY_LOCK = combine_locks([NETCDFC_LOCK, HDF5_LOCK])  # what xarray takes itself where it is not given a lock


class _Library:
    """The locks of the libraries, held by one thread at a time, however deep its calls nest.

    xarray does not hold its lock while it reads what a file holds, and two threads in the library at once crash it.
    """

    thread = threading.RLock()
    depth = 0

    @classmethod
    def acquire(cls, blocking: bool = True) -> bool:
        if not cls.thread.acquire(blocking=blocking):
            return False
        if cls.depth == 0 and not LIBRARY_LOCK.acquire(blocking=blocking):
            cls.thread.release()
            return False
        cls.depth += 1
        return True

    @classmethod
    def release(cls) -> None:
        cls.depth -= 1
        if cls.depth == 0:
            LIBRARY_LOCK.release()
        cls.thread.release()


@contextmanager
def exclusive() -> Iterator[None]:
    """Use the netCDF library itself, alone, and with interrupts held, until the block ends."""
    with interrupts_held(), ExitStack() as stack:
        _Library.acquire()
        stack.callback(_Library.release)
        yield


class _FileLock:
    """The lock of the libraries, for one file: interrupts wait while it is held, and errors name the file.

    xarray takes it whenever it opens, reads or closes the file, also when values are read long after it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = ExitStack()  # set and closed by whoever has the lock

    def acquire(self, blocking: bool = True) -> bool:
        with ExitStack() as held:
            held.enter_context(interrupts_held())
            taken = _Library.acquire(blocking)
            if taken:
                self._held = held.pop_all()
        return taken

    def release(self) -> None:
        held = self._held
        _Library.release()
        try:
            held.close()  # raises the interrupt that had to wait
        except KeyboardInterrupt:
            if not _is_collecting():
                raise
            threading.Timer(0.01, _thread.interrupt_main).start()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
        if isinstance(error, MemoryError):
            raise DataError(f"'{self.path}' cannot be read: it takes more memory than there is.") from None
        if isinstance(error, (OSError, RuntimeError, OverflowError)):
            raise DataError(f"'{self.path}' cannot be read ({_reason(error)}); it may be damaged.") from None

    def __reduce__(self) -> tuple[type[_FileLock], tuple[Path]]:
        return _FileLock, (self.path,)


def _is_collecting() -> bool:
    """Whether an object that nobody uses any more is closing its file; Python drops what is raised then."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def library_path(path: Path) -> str:
    """Give a path as the netCDF library is told it: absolute, as it drops blanks before a name and opens addresses.

    Raises
    ------
    DataError
        If the library would take it for another path, or cannot take it at all.
    """
    absolute = str(path.absolute())
    encoding = sys.getfilesystemencoding()
    try:
        absolute.encode(encoding)
    except UnicodeEncodeError:
        name = os.fsencode(absolute).decode(errors="backslashreplace")
        raise DataError(
            f"The netCDF library cannot take the path '{name}': it is not text in {encoding}. Rename it, or set "
            "PYTHONUTF8=1 if the locale is the cause."
        ) from None
    if "\\" in absolute and os.sep != "\\":
        raise DataError(f"The netCDF library cannot take the path '{absolute}', for its backslash; rename it.")
    return absolute


def open_netcdf(path: str | PathLike[str], *, decode: bool = True) -> xr.Dataset:
    """Open a netCDF file, lazily, as `xarray.open_dataset` does.

    Parameters
    ----------
    path : path
        The file.
    decode : bool
        Whether to obey its attributes, such as those of scaling and of missing values.

    Raises
    ------
    DataError
        If it cannot be read, or is damaged in a way that would keep the library busy for ever; also later, when values
        are read.
    """
    path = Path(path)
    try:
        check_classic_header(path)
        check_heaps(path)
        lock = _FileLock(path)
        with exclusive():
            return xr.open_dataset(library_path(path), engine="netcdf4", lock=lock, decode_cf=decode)
    except DataError:
        raise
    except Exception as error:  # of whatever kind: the file may hold anything
        raise DataError(f"'{path}' is not a readable netCDF file ({_reason(error)}).") from None


def store_netcdf(dataset: xr.Dataset, path: Path, encoding: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a netCDF file, as `Dataset.to_netcdf` does; an interrupt waits until it is written."""
    with interrupts_held(), _Library.thread:  # to_netcdf takes the libraries' locks itself
        dataset.to_netcdf(library_path(path), engine="netcdf4", encoding=encoding)


def _reason(error: BaseException) -> str:
    """What went wrong, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
