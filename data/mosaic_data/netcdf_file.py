"""Arrays of netCDF files, with the names of their axes: the header first, then the rows that are wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

import mosaic
from mosaic_data.stored_array import Array, Indices, StoredArray, pieces

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["netcdf_arrays"]

MISSING = ("_FillValue", "missing_value")
PACKED = ("scale_factor", "add_offset")


@contextmanager
def netcdf_arrays(path: Path) -> Iterator[tuple[list[str], dict[str, StoredArray]]]:
    """Give the names of a file's variables, and its variables `images` and `labels`, unread."""
    # Times, masks and coordinates are not decoded: that would turn integers with a fill value into floats.
    with mosaic.open_netcdf(path, decode=False) as stored:
        names = [str(name) for name in stored.variables]
        wanted = [name for name in ("images", "labels") if name in names]
        yield names, {name: NetcdfVariable(stored.variables[name], name, path) for name in wanted}


class NetcdfVariable(StoredArray):
    """A variable of a netCDF file. Packed values are unpacked; integers are integers, and none of them is missing."""

    def __init__(self, stored: xr.Variable, name: str, path: Path) -> None:
        from netCDF4 import default_fillvals
        from xarray import Variable
        from xarray.conventions import decode_cf_variable

        self._name, self._path = name, path
        fill = None if "_FillValue" in stored.attrs else default_fillvals.get(stored.dtype.str[1:])
        is_packed = any(key in stored.attrs for key in PACKED)
        self._missing = [] if is_packed else [stored.attrs[key] for key in MISSING if key in stored.attrs]
        if stored.dtype.kind in "iu" and not is_packed:
            stored = stored.copy(deep=False)
            stored.attrs = {key: value for key, value in stored.attrs.items() if key not in MISSING}
        else:
            self._missing = []  # xarray makes it NaN, which no data set takes
        self._raw = stored
        self._decoded = decode_cf_variable(name, stored, decode_times=False)
        self.shape, self.dtype = self._decoded.shape, np.dtype(self._decoded.dtype)
        self.dims = tuple(str(dim) for dim in stored.dims)
        # What the library gives where nothing was written; where the file says which value that is, it is missing.
        self._unwritten: Array | None = None
        if fill is not None and self.dtype.kind in "iuf":
            nothing = Variable((), np.array(fill).astype(stored.dtype), stored.attrs)
            self._unwritten = decode_cf_variable(name, nothing, decode_times=False).values
        # HDF5 decompresses whole chunks, and keeps none that is larger than its cache: each is read once, as a whole.
        self._chunk = stored.encoding.get("chunksizes") or (1,) * stored.ndim
        self.held = 2 * math.prod(self._chunk) * stored.dtype.itemsize

    is_direct = True

    def entries(self, first: int, last: int, axis: int = 0) -> Array:
        """Read a region; the libraries' locks let one thread do so at a time.

        Raises
        ------
        DataError
            If a value is the one that says that it is missing.
        """
        region = {self._raw.dims[axis]: slice(first, last)}
        if self._missing:
            self._refuse_missing(self._raw.isel(region).values)
        return np.moveaxis(self._decoded.isel(region).values, axis, 0)

    def check_written(self, least: float, most: float) -> None:
        """Refuse an array that holds what the library gives where nothing was written.

        Raises
        ------
        DataError
            If it does.
        """
        if self._unwritten is not None and least == most == self._unwritten:
            self._refuse_unwritten()

    def rows(self, chosen: Indices, axis: int = 0) -> Iterator[Array]:
        """Read the chosen entries of an axis; the axis comes first.

        Raises
        ------
        DataError
            If a value is the one that says that it is missing, or nothing was written.
        """
        written = False
        count, dim = self.shape[axis], self._raw.dims[axis]
        row_bytes = math.prod(self.shape) // max(1, count) * self.dtype.itemsize
        for start, _, inside in pieces(count, row_bytes, chosen, self._chunk[axis]):
            if len(inside) == 0:
                continue
            span = slice(start + int(inside[0]), start + int(inside[-1]) + 1)
            if self._missing:
                self._refuse_missing(self._raw.isel({dim: span}).values)
            read = self._decoded.isel({dim: span}).values
            written = written or self._unwritten is None or bool((read != self._unwritten).any())
            yield np.moveaxis(read, axis, 0)[inside - inside[0]]
        if not written and len(chosen):
            self._refuse_unwritten()

    def _refuse_unwritten(self) -> NoReturn:
        raise mosaic.DataError(
            f"'{self._path}': '{self._name}' holds nothing but {self._unwritten:g}, which netCDF gives for what "
            f"was never written; write the values, and close the file."
        )

    def _refuse_missing(self, raw: Array) -> None:
        for missing in np.unique(np.concatenate([np.ravel(np.asarray(value)) for value in self._missing])):
            count = int((raw == missing).sum())
            if count:
                raise mosaic.DataError(
                    f"'{self._path}': {count} values of '{self._name}' are {missing}, which the file declares to "
                    f"mean missing (_FillValue); fill them, or remove the attribute if they are values."
                )
