"""How much of a flow a theory can take over: the largest share up to which images stay the network's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaic.evaluate.statistics import CONFIDENCE, RESAMPLES

__all__ = ["THRESHOLDS", "largest_share"]

THRESHOLDS = (0.99, 0.95)


def largest_share(
    values: NDArray[np.float64], shares: NDArray[np.float64], threshold: float, seed: int = 0
) -> tuple[float, float, float]:
    """Give the largest of rising shares up to which the median over samples is at least a threshold, and an interval.

    Parameters
    ----------
    values : array (shares, n)
        Agreement of each sample at each share; samples with a NaN are left out.
    shares : array (shares,)
        Rising.
    threshold : float
        What the medians of this share and of all smaller ones are at least.
    seed : int
        Seed of the resampling.

    Returns
    -------
    value, low, high : float
        The interval holds the middle `CONFIDENCE` of the shares of `RESAMPLES` samples of n drawn with replacement, the
        same ones at each share (percentile bootstrap). NaN where even the smallest share falls short, or without
        values; an end is NaN where as many resamples fall short.

    References
    ----------
    Efron & Tibshirani 1993, ch. 13.
    """
    known = values[:, ~np.isnan(values).any(0)]
    count = known.shape[1]
    if count == 0:
        return float("nan"), float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    medians = np.stack([np.median(each[draws], axis=1) for each in known])
    named = np.concatenate([[np.nan], shares])

    def largest(medians: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many shares in front hold, of medians (shares, ...)."""
        return np.asarray(np.cumprod(medians >= threshold, axis=0).sum(0))

    ends = np.quantile(largest(medians), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="closest_observation")
    places = [int(largest(np.median(known, axis=1))), *ends.astype(int).tolist()]
    low, high = named[places[1:]].tolist()
    return float(named[places[0]]), low, high
