"""What a run's pixels and steps are found by: places along height and width, an index over time, an even choice."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.storage.schema import PLACES, TRAJECTORY_SCHEMA, described

__all__ = ["evenly_spread", "indexed", "pixel_places", "places_of"]


def pixel_places(height: int, width: int) -> dict[str, range]:
    """Values of the schema's coordinates `PLACES` for whole images of this size."""
    rows, columns = range(height), range(width)
    return {"height": rows[::-1], "width": columns, "row": rows, "column": columns}


def places_of(run: xr.Dataset) -> dict[str, xr.DataArray]:
    """Give the coordinates that a run has along height or width, for what is made of its pixels."""
    return {str(name): values for name, values in run.coords.items() if values.dims in (("height",), ("width",))}


def evenly_spread(total: int, count: int) -> NDArray[np.int64]:
    """Choose `count` of `total` places, from the first to the last; all where there are no more, of one the first."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)


def indexed(stored: xr.Dataset) -> xr.Dataset:
    """Give a run what it is selected by: places of its pixels, which older files lack, and an index over `time`.

    netCDF stores no index but those of dimensions, so every run gets it where it is opened, or made. Other results
    stay as they are. Of the values only those of `time` are read.
    """
    if stored.attrs.get("schema") != TRAJECTORY_SCHEMA:
        return stored
    run = stored
    if {"height", "width"} <= set(run.dims):
        places = pixel_places(run.sizes["height"], run.sizes["width"])
        missing = {
            name: (PLACES[name].dims, np.asarray(values, PLACES[name].dtype))
            for name, values in places.items()
            if name not in run.variables
        }
        run = described(run.assign_coords(missing), TRAJECTORY_SCHEMA, only=missing) if missing else run
    if "time" in run.coords and run["time"].dims == ("step",) and "time" not in run.xindexes:
        run = run.set_xindex("time")
    if run is not stored:  # a data set that was changed knows no file to close
        run.set_close(stored.close)
    return run
