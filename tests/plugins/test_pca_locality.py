"""Locality that the data decide: brute force, masks, and the limit without any."""

from __future__ import annotations

import numpy as np
import pytest
import theory_oracle
import torch
from theories import LEVELS, MANY, assert_agrees, assert_is_the_machine, images_of, model_of, noisy

import mosaic

pytestmark = pytest.mark.usefixtures("pieces")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threshold", [0.01, 0.3])
def test_pca_locality_compares_where_the_wiener_filter_is_large(level: tuple[float, float], threshold: float) -> None:
    images = images_of()
    assert_agrees(
        model_of("pca-locality", images, threshold=threshold),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.pca_locality(x, images, a, s, threshold),
    )


@pytest.mark.parametrize("level", LEVELS)
def test_without_a_threshold_it_is_the_ideal_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("pca-locality", images_of(MANY), threshold=0.0), "is", None, level)


@pytest.mark.parametrize("level", LEVELS)
def test_masks_hold_the_largest_entry_and_shrink_as_the_threshold_grows(level: tuple[float, float]) -> None:
    images = images_of(MANY)
    flat = images.reshape(MANY, -1)
    covariance = np.cov(flat.T, bias=True)
    wiener = np.abs(covariance @ np.linalg.inv(covariance + (level[1] / level[0]) ** 2 * np.eye(24)))
    before = np.ones((24, 24))
    for threshold in (0.0, 0.01, 0.1, 0.5, 0.99):
        model = model_of("pca-locality", images, threshold=threshold)
        mask = model.mask(model.fitted(None).moments, mosaic.Level(*level)).numpy()
        assert set(np.unique(mask)) <= {0.0, 1.0}
        assert (mask <= before).all()
        assert mask[np.arange(24), wiener.argmax(1)].tolist() == [1.0] * 24
        before = mask
    assert before.sum() < 24**2


def test_images_of_independent_pixels_are_compared_at_each_pixel_alone() -> None:
    """All combinations of two values: the covariance is diagonal, so every pixel has a posterior of its own."""
    grid = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 4, indexing="ij"), -1).reshape(16, 1, 2, 2)
    x = np.random.default_rng(0).standard_normal((3, 1, 2, 2))
    actual = model_of("pca-locality", grid).denoise(torch.as_tensor(x), mosaic.Level(0.8, 0.6))
    np.testing.assert_allclose(actual, 0.5 * np.tanh(0.5 * 0.8 * x / 0.6**2), rtol=0, atol=1e-12)
