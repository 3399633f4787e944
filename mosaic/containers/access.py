"""Stored data sets opened, lazily, whatever they are stored in; the ending of the path says what that is."""

from __future__ import annotations

import json
import warnings
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import xarray as xr
from xarray.backends import BackendArray
from xarray.backends.zarr import ZarrBackendEntrypoint
from xarray.core import indexing

from mosaic.errors import DataError, UsageError
from mosaic.netcdf.access import open_netcdf

__all__ = ["ENDINGS", "is_there", "is_zarr", "open_container", "root_of_store", "zarr_library"]

ZARR = ".zarr"
ENDINGS = (".nc", ZARR)
ROOT = "zarr.json"  # the metadata of a group or an array, Zarr version 3


def is_zarr(path: Path) -> bool:
    """Whether what is at a path is, or would be, a Zarr store."""
    return path.suffix == ZARR


def is_there(path: Path) -> bool:
    """Whether there is a file, or what may be a store, at a path."""
    return path.is_dir() if is_zarr(path) else path.is_file()


def zarr_library() -> ModuleType:
    """Import zarr, which is not always installed.

    Raises
    ------
    UsageError
        If it is not there.
    """
    try:
        import zarr
    except ImportError as error:
        raise UsageError(
            f"Zarr stores need the zarr library ({error}); pip install 'mosaic-diffusion[zarr]', or use a path that "
            "ends in .nc."
        ) from None
    return zarr


def root_of_store(path: Path) -> dict[str, Any]:
    """Read the root attributes of a Zarr store, without zarr; empty for what is none, or is a link to one."""
    if path.is_symlink() or not (path / ROOT).is_file():
        return {}
    try:
        root = json.loads((path / ROOT).read_bytes())
        attributes = root["attributes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def open_container(path: str | PathLike[str]) -> xr.Dataset:
    """Open a netCDF file or a Zarr store, lazily, as `xarray.open_dataset` does.

    Raises
    ------
    DataError
        If it cannot be read; also later, when values are read.
    """
    path = Path(path)
    if not is_zarr(path):
        return open_netcdf(path)
    zarr_library()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a store whose metadata are not consolidated
            return xr.open_dataset(path, engine=_Store)
    except Exception as error:  # of whatever kind: the store may hold anything
        raise DataError(f"'{path}' is not a readable Zarr store ({_reason(error)}).") from None


class _Store(ZarrBackendEntrypoint):
    """Zarr as xarray reads it, whose errors name the store: values are read long after it was opened."""

    def open_dataset(self, filename_or_obj: Any, **options: Any) -> xr.Dataset:
        stored = super().open_dataset(filename_or_obj, **options)
        guarded = {
            name: xr.Variable(
                variable.dims,
                indexing.LazilyIndexedArray(_Values(Path(filename_or_obj), variable)),
                variable.attrs,
                variable.encoding,
            )
            for name, variable in stored.variables.items()
            if name not in stored.indexes
        }
        whole = stored.assign(guarded)
        whole.set_close(stored.close)
        return whole


class _Values(BackendArray):
    """Values of a variable, read when they are asked for."""

    def __init__(self, path: Path, variable: xr.Variable) -> None:
        self.path, self.variable = path, variable
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        try:
            return self.variable[key].values
        except MemoryError:
            raise DataError(f"'{self.path}' cannot be read: it takes more memory than there is.") from None
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:  # codecs raise any of them
            raise DataError(f"'{self.path}' cannot be read ({_reason(error)}); it may be damaged.") from None


def _reason(error: BaseException) -> str:
    """What went wrong, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
