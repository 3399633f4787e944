"""Halves of a data set: disjoint, balanced and nested; and trainings that differ in their images alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.transition.halves import FALL, HALVES, HalfExperiment, half_of, repeated

ALL = mosaic.registry().get("dataset", "digits")().load()
DIGITS = ALL.select(mosaic.balanced_subset(len(ALL), 60, 0, ALL.labels))


def members(dataset: mosaic.DataSet) -> set[bytes]:
    return {image.numpy().tobytes() for image in dataset.images}


@pytest.mark.parametrize("seed", [0, 1])
def test_halves_share_no_image_and_smaller_choices_are_in_larger_ones(seed: int) -> None:
    chosen = {(half, count): half_of(DIGITS, half, count, seed) for half in HALVES for count in (10, 20, 30)}
    assert [len(each) for each in chosen.values()] == [10, 20, 30] * 2
    assert not members(chosen["A", 30]) & members(chosen["B", 30])
    assert members(chosen["A", 30]) | members(chosen["B", 30]) == members(DIGITS)
    for half in HALVES:
        assert members(chosen[half, 10]) < members(chosen[half, 20]) < members(chosen[half, 30])
        labels = chosen[half, 20].labels
        assert labels is not None
        assert labels.bincount(minlength=10).max() - labels.bincount(minlength=10).min() <= 1


def test_another_seed_halves_otherwise() -> None:
    assert members(half_of(DIGITS, "A", 30, 0)) != members(half_of(DIGITS, "A", 30, 1))


@pytest.mark.parametrize(("count", "length"), [(10, 160), (32, 32), (3, 96)])
def test_repeated_images_fill_batches_equally_often(count: int, length: int) -> None:
    filled = repeated(DIGITS.select(torch.arange(count)), 32)
    assert len(filled) == length
    _, times = filled.images.flatten(1).unique(dim=0, return_counts=True)
    assert set(times.tolist()) == {length // count}


def experiment(half: str, count: int) -> HalfExperiment:
    study = Study(ReproduceConfig(**{**SMALL, "epochs": 96}), Path("root"))
    return HalfExperiment(row_named("fashion-resnet-zeros"), study, half, count, lambda: DIGITS, 10)


def test_trainings_differ_in_their_images_alone() -> None:
    plans = {(half, count): experiment(half, count).load_plan() for half in HALVES for count in (3, 10)}
    # 96 passes over 10 images are 30 batches of 32.
    assert {plan.steps for plan in plans.values()} == {30}
    configs = {half: plans[half, 10].config for half in HALVES}
    assert configs["A"] == configs["B"]
    assert (configs["A"].lr_decay or 0) ** 30 == pytest.approx(FALL)
    assert not plans["A", 10].is_conditional
    first, second = (plans[key].build().module.state_dict() for key in (("A", 3), ("B", 10)))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    own = experiment("A", 10)
    assert len(own.load_dataset()) == 10  # what runs use is not repeated
    assert own.run_config("network").steps == own.run_config("is").steps
    assert own.run_config("network").labels == "none"
