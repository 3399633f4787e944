"""How well runs agree, image by image, and medians of that with intervals: what several targets store and say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.evaluate.compare import compare
from mosaic.evaluate.statistics import interval_of

__all__ = ["ENDS", "ends_text", "intervals", "pearson_r"]

ENDS = ("median", "low", "high")


def pearson_r(run: xr.Dataset, reference: xr.Dataset) -> NDArray[np.float64]:
    """Pearson correlation (sample,) of the final images of two runs from the same noise."""
    compared = compare(run, reference, metrics="pearson_r", progress=False)
    return np.asarray(compared["pearson_r"].sel(compared="run").values)


def intervals(values: NDArray[np.float64], statistic: str = "median") -> NDArray[np.float64]:
    """Median (or mean) over samples and its interval (..., end) of values (..., sample)."""
    return np.asarray(np.apply_along_axis(interval_of, -1, values, statistic))


def ends_text(ends: Sequence[float] | NDArray[np.float64]) -> str:
    """Write a median and its interval."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*ends)
