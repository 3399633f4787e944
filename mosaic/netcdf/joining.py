"""netCDF-4 files joined along a dimension, part by part, without any part's values being decoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from mosaic.netcdf.access import exclusive, library_path

__all__ = ["write_joined"]


def write_joined(
    parts: Iterable[Path],
    target: Path,
    dim: str,
    length: int,
    encoding: Mapping[str, Mapping[str, Any]],
    attributes: Mapping[str, Any],
) -> None:
    """Write a file of the parts' values along `dim`, in this order, one part in memory at a time.

    Variables without `dim`, their attributes and their order are those of the first part. Values are copied as they
    are stored: what scales, fills or names them are attributes, which are copied, too.

    Parameters
    ----------
    parts : iterable of Path
        Files of the same variables, each of which is open only while it is copied.
    target : Path
        The file to write.
    dim, length
        The dimension, and how long it is in the whole.
    encoding : mapping
        How variables are stored, as `xarray.Dataset.to_netcdf` takes it.
    attributes : mapping
        Root attributes, in place of the parts' own.

    Raises
    ------
    ValueError
        If a part has other variables, types or shapes than the first one, or the parts are not `length` long.
    OSError, RuntimeError
        As the library does, if something cannot be read or written.
    """
    with exclusive():
        whole = netCDF4.Dataset(library_path(target), "w", format="NETCDF4")
    try:
        end = 0
        for part in parts:
            with exclusive(), netCDF4.Dataset(library_path(part)) as stored:
                stored.set_auto_maskandscale(False)
                if end == 0:
                    _define(whole, stored, dim, length, encoding)
                end = _copy(whole, stored, dim, end)
        if end != length:
            raise ValueError(f"its parts hold {end} of {length} along {dim}")
        with exclusive():
            whole.setncatts(dict(attributes))
    finally:
        with exclusive():
            whole.close()


def _define(
    whole: netCDF4.Dataset, first: netCDF4.Dataset, dim: str, length: int, encoding: Mapping[str, Mapping[str, Any]]
) -> None:
    """Make the dimensions and variables of the whole."""
    for name, dimension in first.dimensions.items():
        whole.createDimension(name, length if name == dim else len(dimension))
    for name, variable in first.variables.items():
        attributes = {key: variable.getncattr(key) for key in variable.ncattrs()}
        fill = attributes.pop("_FillValue", None)
        made = whole.createVariable(
            name, variable.dtype, variable.dimensions, fill_value=fill, **encoding.get(name, {})
        )
        made.setncatts(attributes)
    whole.set_auto_maskandscale(False)


def _copy(whole: netCDF4.Dataset, part: netCDF4.Dataset, dim: str, start: int) -> int:
    """Copy a part to where it begins in the whole; gives where it ends."""
    if list(part.variables) != list(whole.variables) or dim not in part.dimensions:
        raise ValueError("one of its parts has other variables than the first")
    stop = start + len(part.dimensions[dim])
    if stop > len(whole.dimensions[dim]):
        raise ValueError(f"its parts are longer than {len(whole.dimensions[dim])} along {dim}")
    for name, variable in part.variables.items():
        if dim not in variable.dimensions:
            if start == 0:
                whole[name][...] = variable[...]
            continue
        place = tuple(slice(start, stop) if axis == dim else slice(None) for axis in variable.dimensions)
        wanted = tuple(stop - start if axis == dim else len(whole.dimensions[axis]) for axis in variable.dimensions)
        if (variable.dimensions, variable.shape) != (whole[name].dimensions, wanted) or (
            variable.dtype != whole[name].dtype
        ):
            raise ValueError(f"'{name}' has another type or shape in one of its parts than in the first")
        whole[name][place] = np.asarray(variable[...])
    return stop
