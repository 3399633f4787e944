"""How agreement, agreement beyond chance, and copies are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import mosaic
from mosaic.reproduction.attention.consistency import consistency_shares, copies_among, rule_of, whole


def test_shares_count_images() -> None:
    shown = np.array([[[0, 0], [0, 0], [1, 1], [0, 1], [-1, 0], [-2, -2], [1, 0], [0, 0]]])
    copies = np.array([[True, False, False, False, True, False, False, False]])
    actual = {name: float(values[0]) for name, values in consistency_shares(shown, copies, 2).items()}
    assert actual["consistency_share"] == 4 / 8
    assert actual["new_share"] == 3 / 8
    assert actual["agreement_share"] == 4 / 6
    assert np.isnan(actual["chance"])  # of six whole images a bootstrap says nothing
    twice = consistency_shares(np.concatenate([shown, shown], 1), np.concatenate([copies, copies], 1), 2)
    assert float(twice["chance"][0]) == pytest.approx((4 / 6) * (4 / 6) + (2 / 6) * (2 / 6))
    assert float(twice["beyond_chance"][0]) == pytest.approx(4 / 6 - 20 / 36)
    for name in ("consistency", "new", "agreement"):
        assert actual[f"{name}_low"] < actual[f"{name}_share"] < actual[f"{name}_high"]


@pytest.mark.parametrize(("frequency", "coupling"), [(0.5, 0.0), (0.9, 0.0), (0.5, 0.6)])
def test_agreement_beyond_chance_is_none_of_independent_parts_however_frequent_a_kind_is(
    frequency: float, coupling: float
) -> None:
    rng = np.random.default_rng(0)
    parts = (rng.random((300, 2)) > frequency).astype(np.int64)
    coupled = rng.random(300) < coupling
    parts[coupled, 1] = parts[coupled, 0]
    actual = consistency_shares(parts, np.zeros(300, bool), 2)
    expected = coupling * 2 * frequency * (1 - frequency)  # cov of equal parts, twice
    assert actual["beyond_chance_low"] < expected < actual["beyond_chance_high"]
    assert (actual["beyond_chance_low"] <= 0 <= actual["beyond_chance_high"]) == (coupling == 0)
    assert actual["beyond_chance_high"] - actual["beyond_chance_low"] < 0.25


def test_where_no_image_is_whole_there_is_no_agreement() -> None:
    actual = consistency_shares(np.full((1, 5, 2), -1), np.zeros((1, 5), bool), 3)
    assert actual["consistency_share"].tolist() == [0.0]
    assert np.isnan([actual["agreement_share"][0], actual["chance"][0], actual["beyond_chance_low"][0]]).all()


def test_copies_are_distinguished_from_new_images_also_where_the_training_set_repeats_itself() -> None:
    data = mosaic.registry().get("dataset", "pairs")
    every = data(data.Options(count=108)).load()
    training = every.select(torch.arange(54).repeat(2))
    noise = 0.05 * torch.randn(every.images.shape, generator=torch.Generator().manual_seed(0))
    assert copies_among(every.images + noise, training).tolist() == [True] * 54 + [False] * 54


def test_parts_are_whole_where_they_show_a_kind() -> None:
    assert whole(np.array([[0, 2], [0, -1], [-2, 1], [-1, -2]])).tolist() == [True, False, False, False]


def test_makers_are_counted_each_for_itself() -> None:
    rng = np.random.default_rng(0)
    shown, copies = rng.integers(-1, 2, (2, 3, 40, 2)), rng.random((2, 3, 40)) < 0.3
    together = consistency_shares(shown, copies, 2)
    for place in np.ndindex(2, 3):
        alone = consistency_shares(shown[place], copies[place], 2)
        assert {name: values[place] for name, values in together.items()} == alone


def test_chance_is_the_agreement_of_parts_drawn_from_different_images() -> None:
    """Of all n^2 pairs of a left and a right part, those that show the same."""
    shown = np.random.default_rng(1).choice(3, (30, 2), p=(0.6, 0.3, 0.1))
    actual = consistency_shares(shown, np.zeros(30, bool), 3)
    expected = np.mean(shown[:, None, 0] == shown[None, :, 1])
    assert float(actual["chance"]) == pytest.approx(expected, abs=1e-12)
    assert float(actual["beyond_chance"]) == pytest.approx(np.mean(shown[:, 0] == shown[:, 1]) - expected, abs=1e-12)


def test_images_of_a_single_kind_agree_no_more_than_by_chance() -> None:
    actual = consistency_shares(np.ones((20, 2), np.int64), np.zeros(20, bool), 2)
    assert float(actual["agreement_share"]) == float(actual["chance"]) == 1
    for end in ("", "_low", "_high"):
        assert float(actual[f"beyond_chance{end}"]) == pytest.approx(0, abs=1e-12)


def test_data_without_a_rule_have_none_to_judge_by(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match="'tiny'"):
        rule_of(tiny)
    rule = mosaic.Rule(lambda images: torch.zeros(len(images), 2, dtype=torch.int64), ("a", "b"))
    assert rule_of(replace(tiny, rule=rule)) is rule
