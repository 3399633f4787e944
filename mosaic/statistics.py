"""Medians and means with bootstrap intervals."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "RESAMPLES", "interval_of"]

RESAMPLES, CONFIDENCE = 10_000, 0.95


def interval_of(values: NDArray[np.float64], statistic: str = "median", seed: int = 0) -> tuple[float, float, float]:
    """Give the median (or mean) of the values, and a percentile bootstrap interval of it.

    Parameters
    ----------
    values : array (n,)
        NaN are left out.
    statistic : {"median", "mean"}
        What is given.
    seed : int
        Seed of the resampling.

    Returns
    -------
    value, low, high : float
        The interval holds the middle `CONFIDENCE` of the statistics of `RESAMPLES` samples of n drawn with
        replacement; NaN where there are no values.

    References
    ----------
    Efron & Tibshirani 1993, ch. 13.
    """
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return float("nan"), float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(len(known), size=(RESAMPLES, len(known)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # infinities
        sums_up = np.mean if statistic == "mean" else np.median
        low, high = np.quantile(sums_up(known[draws], axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(sums_up(known)), float(low), float(high)
