"""How often the parts of images agree: in all, beyond chance, and in images that are not copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosaic.errors import UsageError
from mosaic.evaluate.statistics import CONFIDENCE, RESAMPLES, interval_of
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.rule import Rule
from mosaic.registry.loading import registry

__all__ = ["SHARES", "consistency_shares", "copies_among", "rule_of", "whole"]

SHARES = ("consistency", "new", "agreement")
ENDS = ("share", "low", "high")
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

    Duplicates in the training set are removed first: a copy of one would be equally near to two training images.
    """
    _, first = np.unique(dataset.images.cpu().flatten(1).numpy(), axis=0, return_index=True)
    distinct = dataset.select(torch.from_numpy(np.sort(first)))
    are_copies: NDArray[np.bool_] = registry().make("metric", "memorized", {}, distinct)(images).numpy() > 0
    return are_copies


def whole(shown: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each part of an image (..., parts) shows one of the kinds."""
    is_whole: NDArray[np.bool_] = np.asarray((shown >= 0).all(-1))
    return is_whole


def consistency_shares(shown: NDArray[np.int64], copies: NDArray[np.bool_], kinds: int) -> dict[str, Any]:
    """Shares of images whose parts agree, by maker.

    Parameters
    ----------
    shown : array (..., samples, parts), int64
        What the parts show, as `Rule.shows` gives it, for each maker.
    copies : array (..., samples), bool
        Whether the image is a copy of a training image.
    kinds : int
        How many kinds there are.

    Returns
    -------
    dict of arrays (...)
        `consistency_share`, of consistent images among all; `new_share`, of those that are not copies among all;
        `agreement_share`, of consistent images among those whose parts are whole; each with the ends `_low` and
        `_high` of its Wilson interval. `chance`: the agreement of whole parts if each part kept its own frequencies of
        kinds, but they were independent; `beyond_chance`: agreement minus that, `beyond_chance_low` and `_high` its
        interval, by bootstrap over whole images; NaN where fewer than `FEWEST` images are whole.
    """
    makers = [np.unravel_index(n, shown.shape[:-2]) for n in range(int(np.prod(shown.shape[:-2])))]
    shares = [_shares(shown[maker], copies[maker], kinds) for maker in makers]
    return {name: np.reshape([each[name] for each in shares], shown.shape[:-2]) for name in shares[0]}


def _shares(shown: NDArray[np.int64], copies: NDArray[np.bool_], kinds: int) -> dict[str, float]:
    agree = whole(shown) & (shown == shown[:, :1]).all(1)
    values = {"consistency": agree, "new": agree & ~copies, "agreement": agree[whole(shown)]}
    shares = {
        f"{name}_{end}": value
        for name in SHARES
        for end, value in zip(ENDS, interval_of(values[name].astype(float), "share"), strict=True)
    }
    chance, beyond, low, high = _beyond_chance(shown[whole(shown)], kinds)
    return {**shares, "chance": chance, "beyond_chance": beyond, "beyond_chance_low": low, "beyond_chance_high": high}


def _beyond_chance(shown: NDArray[np.int64], kinds: int, seed: int = 0) -> tuple[float, float, float, float]:
    """Agreement by chance of whole images (n, parts), agreement beyond chance, and the interval of the latter."""
    count = len(shown)
    if count < FEWEST:
        return (float("nan"),) * 4
    is_kind = torch.nn.functional.one_hot(torch.from_numpy(shown), kinds).double().numpy()
    agree = (shown == shown[:, :1]).all(1).astype(float)

    def chance_of(frequencies: NDArray[np.float64]) -> Any:
        return frequencies.prod(-2).sum(-1)

    # A bootstrap resample, as the share of draws of each image: its means are products with these shares.
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count
    resampled = draws @ agree - chance_of(np.einsum("rn,npk->rpk", draws, is_kind))
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    chance = float(chance_of(is_kind.mean(0)))
    return chance, float(agree.mean()) - chance, float(low), float(high)
