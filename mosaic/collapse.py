"""When one candidate takes over."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["collapse_times"]

PLACE = ("candidate_image", "candidate_row", "candidate_column")
TAKEN_OVER = 0.5


def collapse_times(kept: xr.Dataset) -> xr.DataArray:
    """Time t of the first step from which on the last step's best candidate has over half of the weight, else NaN.

    Parameters
    ----------
    kept : xarray.Dataset
        The variables `candidate_*` (sample, step, height, width) of all steps, and `time` (step).

    Returns
    -------
    xarray.DataArray (sample, height, width)
        As `run.mosaic.collapse_time` describes it.
    """
    multiplicity = kept["candidate_multiplicity"].clip(min=1)
    same = xr.concat([kept[name] == kept[name].isel(step=-1) for name in PLACE], "place").all("place")
    named = same | ((multiplicity > 1) & (multiplicity.isel(step=-1) > 1))
    taken = ((kept["candidate_weight"] * multiplicity > TAKEN_OVER) & named).transpose("step", ...).values
    lasting = np.logical_and.accumulate(taken[::-1])[::-1]
    times = np.where(lasting, kept["time"].values[:, None, None, None], -np.inf).max(0)
    attrs = {"long_name": "time from which on the last candidate has over half of the weight", "units": "1"}
    dims = ("sample", "height", "width")
    return xr.DataArray(np.where(np.isfinite(times), times, np.nan), {"sample": kept["sample"]}, dims, attrs=attrs)
