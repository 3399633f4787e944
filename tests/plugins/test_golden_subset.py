"""The ideal machine over images chosen by a coarse look: brute force, shares, and its limit."""

from __future__ import annotations

import pytest
import theory_oracle
import torch
from theories import (
    LEVELS,
    MANY,
    assert_agrees,
    assert_is_compared_with_its_class_only,
    assert_is_the_machine,
    images_of,
    model_of,
    noisy,
)

import mosaic

pytestmark = pytest.mark.usefixtures("pieces")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("block", [1, 2, 3])
def test_golden_subset_is_is_over_the_images_nearest_by_a_coarse_look(level: tuple[float, float], block: int) -> None:
    images = images_of(MANY, height=5, width=6)
    assert_agrees(
        model_of("golden-subset", images, low=0.1, high=0.5, block=block),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.golden_subset(x, images, a, s, (0.1, 0.5), block),
    )


def test_golden_subset_keeps_from_a_tenth_to_a_twentieth() -> None:
    model = model_of("golden-subset", images_of())
    assert model.kept(1000, mosaic.Level(1e-6, 1.0)) == 100
    assert model.kept(1000, mosaic.Level(1.0, 1e-6)) == 50
    assert model.kept(3, mosaic.Level(1.0, 1e-6)) == 1


def test_golden_subset_names_images_of_the_whole_set() -> None:
    images = images_of(MANY)
    model = model_of("golden-subset", images)
    actual = model.attribute(torch.as_tensor(images[20:23]), mosaic.Level(1.0, 0.01))
    assert actual.source.image[:, 0, 0].tolist() == [20, 21, 22]


@pytest.mark.parametrize("level", LEVELS)
def test_all_of_the_images_are_the_ideal_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("golden-subset", images_of(MANY), low=1.0, high=1.0), "is", None, level)


def test_places_are_rising_and_looked_for_in_the_images_given() -> None:
    images = torch.as_tensor(images_of(MANY))
    model = model_of("golden-subset", images.numpy(), low=0.25, high=0.25)
    x, level = images[[30, 3]], mosaic.Level(1.0, 0.1)
    for given in (images, images.flip(0), images):  # what was looked at is remembered for the same images only
        places = model.chosen(x, given, level)
        assert places.shape == (2, 10)
        assert (places.diff(dim=1) > 0).all()
        for sample, own in zip(x, places, strict=True):
            assert any(torch.equal(given[place], sample) for place in own)


@pytest.mark.parametrize("block", [1, 2, 64])
def test_a_block_that_hangs_over_is_the_mean_of_what_is_inside(block: int) -> None:
    """Images that only differ in the pixel of a block's remainder differ in its mean."""
    images = torch.zeros(3, 1, 5, 5, dtype=torch.float64)
    images[1, 0, 4, 4], images[2, 0, 4, 4] = 0.5, 1.0
    model = model_of("golden-subset", images.numpy(), low=0.1, high=0.1, block=block)
    for place in range(3):
        assert model.chosen(images[place : place + 1], images, mosaic.Level(1.0, 0.1)).tolist() == [[place]]


def test_a_sample_with_a_label_is_compared_with_its_class_only() -> None:
    assert_is_compared_with_its_class_only("golden-subset")
