"""How often the parts of images agree: in all, beyond chance, and in images that are not copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosaic.errors import UsageError
from mosaic.evaluate.statistics import CONFIDENCE, RESAMPLES, crossed_interval, interval_of
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.rule import Rule
from mosaic.registry.loading import registry

__all__ = [
    "DIFFERENCES",
    "SHARES",
    "consistency_differences",
    "consistency_shares",
    "copies_among",
    "rule_of",
    "whole",
]

SHARES = ("consistency", "new", "whole", "agreement")
DIFFERENCES = ("consistency", "new", "whole", "beyond_chance")
FEWEST = 10  # whole images that a bootstrap needs to be meaningful


def rule_of(dataset: DataSet) -> Rule:
    """The data set's rule.

    Raises
    ------
    UsageError
        If it has none.
    """
    if dataset.rule is None:
        raise UsageError(f"Data set '{dataset.name}' has no rule that images could be judged by; use `dataset` pairs.")
    return dataset.rule


def copies_among(images: Tensor, dataset: DataSet) -> NDArray[np.bool_]:
    """Which of the images (B, C, H, W) are copies of training images (B,), by the metric `memorized`.

    Duplicates in the training set are removed first, for which all images are held: a copy of one would be equally near
    to two training images.
    """
    _, first = np.unique(dataset.images[:].cpu().flatten(1).numpy(), axis=0, return_index=True)
    distinct = dataset.select(torch.from_numpy(np.sort(first)))
    are_copies: NDArray[np.bool_] = registry().make("metric", "memorized", {}, distinct)(images).numpy() > 0
    return are_copies


def whole(shown: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each part of an image (..., parts) shows one of the kinds."""
    is_whole: NDArray[np.bool_] = np.asarray((shown >= 0).all(-1))
    return is_whole


def consistency_shares(shown: NDArray[np.int64], copies: NDArray[np.bool_], kinds: int) -> dict[str, float]:
    """Shares of a maker's images whose parts agree.

    Parameters
    ----------
    shown : array (trainings, samples, parts), int64
        What the parts show, as `Rule.shows` gives it. A sample is the same noise in all trainings; a theory has one.
    copies : array (trainings, samples), bool
        Whether the image is a copy of a training image.
    kinds : int
        How many kinds there are.

    Returns
    -------
    dict
        `consistency_share`, of consistent images among all; `new_share`, of those that are not copies among all;
        `whole_share`, of images whose parts are whole among all; `agreement_share`, of consistent images among whole
        ones; each with the ends `_low` and `_high` of its interval: Wilson's of one training, of several that over
        trainings and samples (`crossed_interval`), which has no width where all are alike. `chance`: the agreement of
        whole parts if, in each training, each part kept its own frequencies of kinds, but they were independent;
        `beyond_chance`: agreement minus that, `beyond_chance_low` and `_high` its interval, by bootstrap over trainings
        and samples; NaN where fewer than `FEWEST` images are whole.
    """
    values = {**_values(shown, copies), "agreement": np.where(whole(shown), _agree(shown), np.nan)}
    shares: dict[str, float] = {}
    for name in SHARES:
        interval = _share_of(values[name])
        shares |= {f"{name}_{end}": value for end, value in zip(("share", "low", "high"), interval, strict=True)}
    agreement, excess, resampled = _beyond_chance(shown, kinds)
    low, high = _ends(resampled)
    beyond = {"beyond_chance": excess, "beyond_chance_low": low, "beyond_chance_high": high}
    return {**shares, "chance": agreement - excess, **beyond}


def consistency_differences(
    shown: NDArray[np.int64], copies: NDArray[np.bool_], kinds: int
) -> dict[str, tuple[float, float, float]]:
    """Differences of the shares of two makers, paired by training and sample.

    Parameters
    ----------
    shown : array (2, trainings, samples, parts), int64
        What the parts show: of a maker, and of the one whose shares are subtracted. Trainings of the same number have
        the same seed.
    copies : array (2, trainings, samples), bool
        Whether the image is a copy of a training image.
    kinds : int
        How many kinds there are.

    Returns
    -------
    dict
        Of each of `DIFFERENCES`: the difference and the ends of its interval, by bootstrap over pairs of trainings and
        over samples (`crossed_interval`).
    """
    values = [_values(*maker) for maker in zip(shown, copies, strict=True)]
    differences = {name: crossed_interval(values[0][name] - values[1][name], "mean") for name in values[0]}
    # Resampled alike: the draws depend on numbers of trainings and of samples only.
    (_, excess, resampled), (_, other_excess, other_resampled) = (_beyond_chance(maker, kinds) for maker in shown)
    return {**differences, "beyond_chance": (excess - other_excess, *_ends(resampled - other_resampled))}


def _agree(shown: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether an image's parts are whole and show the same."""
    return np.asarray(whole(shown) & (shown == shown[..., :1]).all(-1))


def _values(shown: NDArray[np.int64], copies: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Ones and zeros of each image, whose means are shares among all."""
    agree = _agree(shown)
    flags = {"consistency": agree, "new": agree & ~copies, "whole": whole(shown)}
    return {name: flag.astype(float) for name, flag in flags.items()}


def _share_of(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return interval_of(values[0], "share") if len(values) == 1 else crossed_interval(values, "mean")


def _beyond_chance(shown: NDArray[np.int64], kinds: int, seed: int = 0) -> tuple[float, float, Any]:
    """Agreement of whole images, of (trainings, samples, parts), its excess over chance, and that of resamples (n,).

    Chance is that of each training by itself, weighted by its number of whole images: kinds that one training prefers
    in both parts, and another does not, are no agreement.
    """
    trainings, samples, parts = shown.shape
    is_whole, agree = whole(shown), _agree(shown)
    if is_whole.sum() < FEWEST:
        return float("nan"), float("nan"), np.full(RESAMPLES, np.nan)
    shows = np.arange(kinds) == shown[..., None]
    shows &= is_whole[..., None, None]
    per_sample = np.concatenate([is_whole[..., None], agree[..., None], shows.reshape(trainings, samples, -1)], -1)
    per_sample = per_sample.astype(float)

    def sums_of(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        """Whole images, agreeing ones, and those expected by chance: (n, trainings, 3), of draws (n, samples)."""
        sums = np.stack([drawn @ each for each in per_sample], 1)
        count, kind_counts = sums[..., 0], sums[..., 2:].reshape(*sums.shape[:2], parts, kinds)
        frequencies = kind_counts / np.maximum(count, 1)[..., None, None]
        expected = count * frequencies.prod(-2).sum(-1)
        return np.stack([count, sums[..., 1], expected], -1)

    def excess_of(sums: NDArray[np.float64]) -> Any:
        """Of sums over trainings (..., 3)."""
        with np.errstate(invalid="ignore"):  # a resample without whole images
            return (sums[..., 1] - sums[..., 2]) / sums[..., 0]

    random = np.random.default_rng(seed)
    drawn = random.multinomial(samples, np.full(samples, 1 / samples), size=RESAMPLES)
    repeated = random.multinomial(trainings, np.full(trainings, 1 / trainings), size=RESAMPLES)
    resampled = excess_of(np.einsum("nt,ntk->nk", repeated, sums_of(drawn.astype(float))))
    every = sums_of(np.ones((1, samples)))[0].sum(0)
    return float(every[1] / every[0]), float(excess_of(every)), resampled


def _ends(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the interval that holds the middle `CONFIDENCE` of resampled values; NaN where there are none."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
