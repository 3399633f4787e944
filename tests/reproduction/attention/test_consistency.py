"""How agreement, agreement beyond chance, and copies are counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic.evaluate.statistics import crossed_interval
from mosaic.reproduction.attention.consistency import (
    DIFFERENCES,
    consistency_differences,
    consistency_shares,
    copies_among,
    rule_of,
    whole,
)


def of_one(shown: Any, copies: Any = None, kinds: int = 2) -> dict[str, float]:
    """Shares of a single training, without copies unless they are given."""
    parts = np.asarray(shown)
    return consistency_shares(parts[None], np.zeros((1, len(parts)), bool) if copies is None else copies[None], kinds)


def test_shares_count_images() -> None:
    shown = np.array([[0, 0], [0, 0], [1, 1], [0, 1], [-1, 0], [-2, -2], [1, 0], [0, 0]])
    copies = np.array([True, False, False, False, True, False, False, False])
    actual = of_one(shown, copies)
    assert actual["consistency_share"] == 4 / 8
    assert actual["new_share"] == 3 / 8
    assert actual["whole_share"] == 6 / 8
    assert actual["agreement_share"] == 4 / 6
    assert np.isnan(actual["chance"])  # of six whole images a bootstrap says nothing
    twice = of_one(np.concatenate([shown, shown]), np.concatenate([copies, copies]))
    assert twice["chance"] == pytest.approx((4 / 6) * (4 / 6) + (2 / 6) * (2 / 6))
    assert twice["beyond_chance"] == pytest.approx(4 / 6 - 20 / 36)
    for name in ("consistency", "new", "whole", "agreement"):
        assert actual[f"{name}_low"] < actual[f"{name}_share"] < actual[f"{name}_high"]


@pytest.mark.parametrize(("frequency", "coupling"), [(0.5, 0.0), (0.9, 0.0), (0.5, 0.6)])
def test_agreement_beyond_chance_is_none_of_independent_parts_however_frequent_a_kind_is(
    frequency: float, coupling: float
) -> None:
    rng = np.random.default_rng(0)
    parts = (rng.random((300, 2)) > frequency).astype(np.int64)
    coupled = rng.random(300) < coupling
    parts[coupled, 1] = parts[coupled, 0]
    actual = of_one(parts)
    expected = coupling * 2 * frequency * (1 - frequency)  # cov of equal parts, twice
    assert actual["beyond_chance_low"] < expected < actual["beyond_chance_high"]
    assert (actual["beyond_chance_low"] <= 0 <= actual["beyond_chance_high"]) == (coupling == 0)
    assert actual["beyond_chance_high"] - actual["beyond_chance_low"] < 0.25


def test_where_no_image_is_whole_there_is_no_agreement() -> None:
    actual = of_one(np.full((5, 2), -1), kinds=3)
    assert actual["consistency_share"] == actual["whole_share"] == 0
    assert np.isnan([actual["agreement_share"], actual["chance"], actual["beyond_chance_low"]]).all()


def test_copies_are_distinguished_from_new_images_also_where_the_training_set_repeats_itself() -> None:
    data = mosaic.registry().get("dataset", "pairs")
    every = data(data.Options(count=108)).load()
    training = every.select(torch.arange(54).repeat(2))
    noise = 0.05 * torch.randn(every.images.shape, generator=torch.Generator().manual_seed(0))
    assert copies_among(every.images + noise, training).tolist() == [True] * 54 + [False] * 54


def test_parts_are_whole_where_they_show_a_kind() -> None:
    assert whole(np.array([[0, 2], [0, -1], [-2, 1], [-1, -2]])).tolist() == [True, False, False, False]


def trainings_of(rng: np.random.Generator, count: int = 3, samples: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """What the parts of images show, often nothing, and whether they are copies."""
    return rng.integers(-1, 2, (count, samples, 2)), rng.random((count, samples)) < 0.3


def test_shares_of_several_trainings_are_resampled_over_trainings_and_samples() -> None:
    shown, copies = trainings_of(np.random.default_rng(0))
    shown[2] = 1  # one training always agrees
    actual = consistency_shares(shown, copies, 2)
    is_whole = (shown >= 0).all(-1)
    agree = is_whole & (shown[..., 0] == shown[..., 1])
    for name, values in {
        "consistency": agree.astype(float),
        "new": (agree & ~copies).astype(float),
        "whole": is_whole.astype(float),
        "agreement": np.where(is_whole, agree, np.nan),
    }.items():
        expected = crossed_interval(values, "mean")
        assert tuple(actual[f"{name}_{end}"] for end in ("share", "low", "high")) == expected
    # As wide as trainings differ, which a single one cannot say.
    alone = consistency_shares(shown[:1], copies[:1], 2)
    widths = [each["consistency_high"] - each["consistency_low"] for each in (actual, alone)]
    assert widths[0] > 1.5 * widths[1]


def test_agreement_beyond_chance_by_an_independent_bootstrap() -> None:
    shown, copies = trainings_of(np.random.default_rng(3), samples=80)
    shown[0, :40, 1] = shown[0, :40, 0]

    def excess(parts: np.ndarray) -> float:
        agree, chance, count = 0.0, 0.0, 0
        for training in parts:
            known = training[(training >= 0).all(1)]
            agree += float((known[:, 0] == known[:, 1]).sum())
            chance += len(known) * float(np.mean(known[:, None, 0] == known[None, :, 1]))
            count += len(known)
        return (agree - chance) / count

    actual = consistency_shares(shown, copies, 2)
    assert actual["beyond_chance"] == pytest.approx(excess(shown), abs=1e-12)
    assert actual["chance"] == pytest.approx(actual["agreement_share"] - excess(shown), abs=1e-12)
    rng = np.random.default_rng(1)
    resampled = [excess(shown[rng.integers(3, size=3)][:, rng.integers(80, size=80)]) for _ in range(2000)]
    ends = np.quantile(resampled, [0.025, 0.975])
    np.testing.assert_allclose([actual["beyond_chance_low"], actual["beyond_chance_high"]], ends, atol=0.015)


def test_kinds_that_a_training_prefers_in_both_parts_are_no_agreement() -> None:
    shown = np.stack([np.zeros((40, 2), np.int64), np.ones((40, 2), np.int64)])
    actual = consistency_shares(shown, np.zeros((2, 40), bool), 2)
    assert actual["agreement_share"] == 1
    for end in ("", "_low", "_high"):
        assert actual[f"beyond_chance{end}"] == pytest.approx(0, abs=1e-12)


def test_differences_are_those_of_shares_paired_by_training_and_sample() -> None:
    rng = np.random.default_rng(5)
    pair = [trainings_of(rng) for _ in range(2)]
    shown, copies = (np.stack(arrays) for arrays in zip(*pair, strict=True))
    actual = consistency_differences(shown, copies, 2)
    first, second = (consistency_shares(*maker, 2) for maker in pair)
    assert tuple(actual) == DIFFERENCES
    for name, (value, low, high) in actual.items():
        key = name if name == "beyond_chance" else f"{name}_share"
        assert value == pytest.approx(first[key] - second[key], abs=1e-12)
        assert low < value < high
    whole_of = [(parts >= 0).all(-1).astype(float) for parts in shown]
    assert actual["whole"] == crossed_interval(whole_of[0] - whole_of[1], "mean")
    assert consistency_differences(shown[[0, 0]], copies[[0, 0]], 2) == dict.fromkeys(DIFFERENCES, (0.0, 0.0, 0.0))


def test_chance_is_the_agreement_of_parts_drawn_from_different_images() -> None:
    """Of all n^2 pairs of a left and a right part, those that show the same."""
    shown = np.random.default_rng(1).choice(3, (30, 2), p=(0.6, 0.3, 0.1))
    actual = of_one(shown, kinds=3)
    expected = np.mean(shown[:, None, 0] == shown[None, :, 1])
    assert float(actual["chance"]) == pytest.approx(expected, abs=1e-12)
    assert float(actual["beyond_chance"]) == pytest.approx(np.mean(shown[:, 0] == shown[:, 1]) - expected, abs=1e-12)


def test_images_of_a_single_kind_agree_no_more_than_by_chance() -> None:
    actual = of_one(np.ones((20, 2), np.int64))
    assert actual["agreement_share"] == pytest.approx(1)
    assert actual["chance"] == pytest.approx(1)
    for end in ("", "_low", "_high"):
        assert float(actual[f"beyond_chance{end}"]) == pytest.approx(0, abs=1e-12)


def test_data_without_a_rule_have_none_to_judge_by(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match="'tiny'"):
        rule_of(tiny)
    rule = mosaic.Rule(lambda images: torch.zeros(len(images), 2, dtype=torch.int64), ("a", "b"))
    assert rule_of(replace(tiny, rule=rule)) is rule
