"""Medians, means and ratios of means with bootstrap intervals, also over trainings; shares with binomial ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

__all__ = ["CONFIDENCE", "RESAMPLES", "crossed_interval", "difference_of_means", "interval_of", "ratio_of_means"]

RESAMPLES, CONFIDENCE = 10_000, 0.95
BLOCK = 2**20  # drawn values in memory at a time
KEPT = 2**23  # drawn values at most whose counts are kept: many tables of one size have the same draws


def interval_of(values: NDArray[np.float64], statistic: str = "median", seed: int = 0) -> tuple[float, float, float]:
    """Give the median (or mean) of the values, or the share of ones among zeros, and an interval of it.

    Parameters
    ----------
    values : array (n,)
        NaN are left out.
    statistic : {"median", "mean", "share"}
        What is given.
    seed : int
        Seed of the resampling.

    Returns
    -------
    value, low, high : float
        The interval holds the middle `CONFIDENCE` of the statistics of `RESAMPLES` samples of n drawn with
        replacement (percentile bootstrap); that of a share is Wilson's, which has a width where all are alike. NaN
        where there are no values.

    References
    ----------
    Efron & Tibshirani 1993, ch. 13; Wilson 1927.
    """
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return float("nan"), float("nan"), float("nan")
    if statistic == "share":
        return _share_of(known)
    return crossed_interval(known[None], statistic, seed)


def crossed_interval(
    values: NDArray[np.float64], statistic: str = "median", seed: int = 0
) -> tuple[float, float, float]:
    """Give the median (or mean) of values of several trainings on the same samples, and an interval of it.

    Parameters
    ----------
    values : array (trainings, samples)
        Each sample is the same noise for all trainings. NaN are left out.
    statistic : {"median", "mean"}
        What is given, of all values together.
    seed : int
        Seed of the resampling.

    Returns
    -------
    value, low, high : float
        The interval holds the middle `CONFIDENCE` of the statistics of `RESAMPLES` tables, each of as many trainings
        and of as many samples, both drawn with replacement and independently (percentile bootstrap of crossed
        factors). Of one training it is that of `interval_of`. NaN where there are no values.

    References
    ----------
    Owen 2007, "The pigeonhole bootstrap".
    """
    has_value = ~np.isnan(values)
    known = values[has_value.any(1)][:, has_value.any(0)]
    if known.size == 0:
        return float("nan"), float("nan"), float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # from infinite values, and draws without values
        has_gaps = bool(np.isnan(known).any())  # it takes longer to leave them out
        mean, median = (np.nanmean, np.nanmedian) if has_gaps else (np.mean, np.median)
        summarise = mean if statistic == "mean" else median
        if statistic == "median" and not has_gaps:
            drawn = _drawn_medians(known, seed)
        else:
            blocks = [
                summarise(known[rows[:, :, None], columns[:, None, :]].reshape(len(rows), -1), axis=1)
                for rows, columns in _draws(known.shape[0], known.shape[1], seed)
            ]
            drawn = np.concatenate(blocks)
        low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(summarise(known)), float(low), float(high)


def _drawn(random: np.random.Generator, places: int, values: int) -> Iterator[NDArray[np.int64]]:
    """Draw places (draws, places) with replacement, in blocks of so many draws that `values` of each are few enough.

    The blocks are the rows of one array of all draws: the generator goes on where it was.
    """
    length = max(1, BLOCK // values)
    for first in range(0, RESAMPLES, length):
        yield random.integers(places, size=(min(length, RESAMPLES - first), places))


def _draws(trainings: int, samples: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Draw trainings (draws, trainings) and samples (draws, samples) with replacement, in blocks of draws."""
    values, after = trainings * samples, np.random.default_rng(seed)
    if trainings > 1:  # samples are drawn first, so that those of one training are the same
        for _ in _drawn(after, samples, values):
            pass
    rows = after.integers(trainings, size=(RESAMPLES, trainings))
    done = 0
    for columns in _drawn(np.random.default_rng(seed), samples, values):
        yield rows[done : done + len(columns)], columns
        done += len(columns)


def _counts(trainings: int, samples: int, seed: int) -> Iterable[NDArray[np.int32]]:
    """How often each value of a table (trainings, samples), flattened, is in each draw: blocks (values, draws)."""
    is_small = RESAMPLES * trainings * samples <= KEPT
    return _kept_counts(trainings, samples, seed, RESAMPLES) if is_small else _new_counts(trainings, samples, seed)


@lru_cache(maxsize=2)
def _kept_counts(trainings: int, samples: int, seed: int, resamples: int) -> tuple[NDArray[np.int32], ...]:
    return tuple(_new_counts(trainings, samples, seed))


def _new_counts(trainings: int, samples: int, seed: int) -> Iterator[NDArray[np.int32]]:
    for rows, columns in _draws(trainings, samples, seed):
        of_rows, of_columns = _count(rows, trainings), _count(columns, samples)
        yield np.asarray((of_rows[:, None] * of_columns[None]).reshape(trainings * samples, len(rows)))


def _count(drawn: NDArray[np.int64], places: int) -> NDArray[np.int32]:
    """How often each place is among the numbers of each row (draws, numbers): (places, draws)."""
    flat = drawn + places * np.arange(len(drawn))[:, None]
    counts = np.bincount(flat.ravel(), minlength=places * len(drawn)).reshape(len(drawn), places)
    return np.ascontiguousarray(counts.T, dtype=np.int32)


def _drawn_medians(table: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Give the median of each draw of a table without gaps: in the order of the values, where half of them are.

    It is the same number as of the drawn values themselves, several times as fast.
    """
    order = np.argsort(table, axis=None)
    values, medians = table.ravel()[order], []
    for counts in _counts(table.shape[0], table.shape[1], seed):
        behind = np.cumsum(counts[order], axis=0)
        middle = [(behind <= half).sum(0) for half in ((table.size - 1) // 2, table.size // 2)]
        medians.append((values[middle[0]] + values[middle[1]]) / 2)
    return np.concatenate(medians)


def ratio_of_means(
    values: NDArray[np.float64], baseline: NDArray[np.float64], seed: int = 0
) -> tuple[float, float, float]:
    """Give the ratio of the means of two paired samples, or the geometric mean of several such ratios, and an interval.

    Parameters
    ----------
    values, baseline : array (n,) or (ratios, n), positive
        Of the same n samples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    value, low, high : float
        The interval holds the middle `CONFIDENCE` of the ratios of `RESAMPLES` samples of n drawn with replacement, the
        same ones of `values` and `baseline`, and of all ratios (paired percentile bootstrap).

    References
    ----------
    Efron & Tibshirani 1993, ch. 13.
    """
    pair = np.stack([np.atleast_2d(values), np.atleast_2d(baseline)])

    def ratio(means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of means (2, ratios, ...)."""
        return np.asarray(np.exp(np.log(means[0] / means[1]).mean(0)))

    blocks = _drawn(np.random.default_rng(seed), pair.shape[2], pair.size)
    means = np.concatenate([pair[:, :, draws].mean(3) for draws in blocks], axis=2)
    low, high = np.quantile(ratio(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(ratio(pair.mean(2))), float(low), float(high)


def difference_of_means(
    values: NDArray[np.float64], baseline: NDArray[np.float64], seed: int = 0
) -> tuple[float, float, float]:
    """Give the mean of a sample minus that of another one, which is independent of it, and an interval.

    Parameters
    ----------
    values, baseline : array (n,), array (m,)
        Of different images, for example.
    seed : int
        Seed of the resampling.

    Returns
    -------
    value, low, high : float
        The interval holds the middle `CONFIDENCE` of the differences of `RESAMPLES` samples of n and of m, each drawn
        with replacement by itself (two-sample percentile bootstrap).

    References
    ----------
    Efron & Tibshirani 1993, sec. 8.3.
    """
    generator = np.random.default_rng(seed)
    means = [
        np.concatenate([each[draws].mean(1) for draws in _drawn(generator, len(each), len(each))])
        for each in (values, baseline)
    ]
    low, high = np.quantile(means[0] - means[1], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(values.mean() - baseline.mean()), float(low), float(high)


def _share_of(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Share of ones among zeros, and its Wilson score interval."""
    share = float(np.mean(values))
    interval = binomtest(round(float(values.sum())), len(values)).proportion_ci(CONFIDENCE, method="wilson")
    # At shares 0 and 1, rounding must not put the share outside its interval.
    return share, min(share, float(interval.low)), max(share, float(interval.high))
