"""A plugin under test: its options, the small data it is evaluated on, and what a requirement is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conformance_checks import Undescribed
from ideal_score import Ideal
from pydantic import Field

import mosaic
from mosaic.testing.case import Failed, PluginCase, require, small_dataset


class Counted(mosaic.Options):
    size: int = Field(3, ge=1, description="A size.")


class Unstored(mosaic.Options):
    size: int = Field(3, exclude=True, description="Left out of what is stored.")


class Sized(Ideal):
    Options = Counted


class Silent(Ideal):
    Options = Undescribed


class Forgetful(Ideal):
    Options = Unstored


def test_a_requirement_that_does_not_hold_fails_with_its_message() -> None:
    require(torch.tensor(True), "unused")
    with pytest.raises(Failed, match=r"^off by 7$"):
        require(np.bool_(False), "off by 7")


@pytest.mark.parametrize("shape", [(1, 7, 6), (3, 4, 5)])
def test_the_small_images_are_distinct_and_of_three_classes(shape: tuple[int, int, int]) -> None:
    dataset = small_dataset(*shape)
    assert dataset.shape == shape
    flat = dataset.images.flatten(1)
    assert torch.pdist(flat).min() > 0.1
    assert flat.abs().max() <= 1
    assert dataset.labels is not None
    assert torch.bincount(dataset.labels).tolist() == [4, 4, 3]
    assert torch.equal(flat, small_dataset(*shape).images.flatten(1))


def test_noisy_images_are_a_signal_and_seeded_noise() -> None:
    case = PluginCase(Ideal)
    level = mosaic.Level(0.8, 0.6)
    x = case.noisy(level, count=11, dtype=torch.float64)
    noise = (x - 0.8 * case.dataset.images.double()) / 0.6
    assert abs(float(noise.mean())) < 0.15  # 462 values: 3 standard deviations of their mean
    assert abs(float(noise.std()) - 1) < 0.1
    assert torch.equal(x, case.noisy(level, count=11, dtype=torch.float64))
    assert not torch.equal(x, case.noisy(level, count=11, dtype=torch.float64, seed=2))
    torch.testing.assert_close(case.noisy(level, count=11).double(), x, rtol=0, atol=1e-6)
    assert torch.equal(case.noisy(mosaic.Level(1.0, 0.0), count=2), case.dataset.images[:2])


def test_options_are_parsed_by_the_plugins_own() -> None:
    assert PluginCase(Sized, {"size": 5}).parsed() == Counted(size=5)
    with pytest.raises(mosaic.UsageError, match=r"size.*0"):
        PluginCase(Sized, {"size": 0}).parsed()


def test_options_come_back_from_json_and_are_described() -> None:
    PluginCase(Sized, {"size": 5}).check_options()
    PluginCase(Forgetful).check_options()  # the default comes back whatever is stored
    with pytest.raises(Failed, match=r"size=5.*size=3"):
        PluginCase(Forgetful, {"size": 5}).check_options()
    with pytest.raises(Failed, match="'size'"):
        PluginCase(Silent).check_options()
