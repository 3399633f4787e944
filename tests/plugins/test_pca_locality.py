"""Locality that the data decide: brute force, the published code's numbers, masks, and the limit without any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import theory_oracle
import torch
from theories import LEVELS, MANY, assert_agrees, assert_is_the_machine, images_of, model_of, noisy

import mosaic
from mosaic_plugins.pca_locality import mask_of

IN_PIECES = pytest.mark.usefixtures("pieces")
TIMESTEPS = [900, 600, 300, 100, 20]
PUBLISHED = pytest.mark.parametrize("threshold", [0.005, 0.02, 0.05])


@IN_PIECES
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


def case_of(published: Mapping[str, Any], t: int) -> tuple[np.ndarray, np.ndarray, mosaic.Level]:
    """Images and noisy states in float64, and their level."""
    images = published["images_uint8"] / 127.5 - 1
    return images, published[f"t{t}_x"].astype(np.float64), mosaic.Level(*published[f"t{t}_level"].tolist())


@PUBLISHED
@pytest.mark.parametrize("t", TIMESTEPS)
def test_it_agrees_with_the_numbers_of_the_published_code(
    published: Mapping[str, Any], t: int, threshold: float
) -> None:
    images, x, level = case_of(published, t)
    actual = model_of("pca-locality", images, threshold=threshold).denoise(torch.as_tensor(x), level)
    np.testing.assert_allclose(actual, published[f"pca_thr{threshold}_t{t}_x0hat"], rtol=0, atol=1e-5)


@PUBLISHED
def test_batches_are_those_of_the_published_code(published: Mapping[str, Any], threshold: float) -> None:
    images, x, level = case_of(published, 300)
    model = model_of("pca-locality", images, threshold=threshold, average="batches", batch=32)
    actual, wanted = model.denoise(torch.as_tensor(x), level), published[f"pca_thr{threshold}_t300_batches32_16_x0hat"]
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=2e-5)
    exact = model_of("pca-locality", images, threshold=threshold).denoise(torch.as_tensor(x), level)
    assert np.abs(exact.numpy() - wanted).max() > 0.1


def test_batches_are_refused_where_the_average_is_exact(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=r"batch=4 .*average=exact"):
        mosaic.score("pca-locality", tiny, batch=4)


@PUBLISHED
@pytest.mark.parametrize("t", TIMESTEPS)
def test_masks_are_of_the_published_size(published: Mapping[str, Any], t: int, threshold: float) -> None:
    """At t = 20, they are once the few entries are flipped that float32 may put on the other side of the threshold."""
    images, _, level = case_of(published, t)
    moments = model_of("pca-locality", images, threshold=threshold).fitted(None).moments
    wiener, wanted = moments.wiener(level), torch.as_tensor(published[f"pca_thr{threshold}_t{t}_mask_sizes"])
    missing = wanted - mask_of(wiener, threshold).sum(0)
    if t != 20:
        assert not missing.any()
        return
    assert 0 < missing.count_nonzero() <= 10
    assert missing.abs().max() == 1
    ratios = (wiener / wiener.diagonal()[:, None]).abs()
    excess = ratios / ratios.amax() - threshold
    # The covariance C rounded by E changes W = C (C + s^2 / a^2)^-1 by |E| a^2 / s^2 at most, to first order.
    rounding = torch.finfo(torch.float32).eps * moments.values.max() / level.ratio**2
    stated = 4e-5
    assert stated < rounding < 2e-4
    is_near = excess.abs() < stated
    assert is_near.any(0).double().mean() < 0.3  # that an entry is so near is no matter of course
    flipped = mask_of(wiener, threshold)
    for column in missing.nonzero().flatten():
        flippable = is_near[:, column] & ((excess[:, column] < 0) == (missing[column] > 0))
        nearest = torch.where(flippable, excess[:, column].abs(), torch.inf).argmin()
        assert flippable[nearest]
        flipped[nearest, column] = 1 - flipped[nearest, column]
    assert torch.equal(flipped.sum(0), wanted.double())


@IN_PIECES
@pytest.mark.parametrize("level", LEVELS)
def test_without_a_threshold_it_is_the_ideal_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("pca-locality", images_of(MANY), threshold=0.0), "is", None, level)


@IN_PIECES
@pytest.mark.parametrize("level", LEVELS)
def test_one_batch_is_exact(level: tuple[float, float]) -> None:
    images = images_of(MANY)
    x = torch.as_tensor(noisy(images, level))
    exact, one = model_of("pca-locality", images), model_of("pca-locality", images, average="batches", batch=MANY)
    assert torch.equal(exact.denoise(x, mosaic.Level(*level)), one.denoise(x, mosaic.Level(*level)))


def test_masks_by_hand() -> None:
    """Rows are divided by their diagonal entry, if it is not too small; columns are the output pixels' masks."""
    wiener = torch.tensor([[0.5, 0.2, -0.1], [0.2, 0.1, 0.02], [-0.1, 0.02, 1e-7]], dtype=torch.float64)
    # |M| is [1, .4, .2], [2, 1, .2], [.1, .02, 1e-7]; the largest entry is 2.
    assert mask_of(wiener, 0.09).tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    assert mask_of(wiener, 0.3).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert mask_of(wiener, 0.5).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("level", LEVELS)
def test_masks_hold_each_pixel_itself_and_shrink_as_the_threshold_grows(level: tuple[float, float]) -> None:
    images = images_of(MANY)
    before = np.ones((24, 24))
    for threshold in (0.0, 0.01, 0.1, 0.3):
        model = model_of("pca-locality", images, threshold=threshold)
        mask = mask_of(model.fitted(None).moments.wiener(mosaic.Level(*level)), threshold).numpy()
        np.testing.assert_array_equal(mask, theory_oracle.pca_masks(images, *level, threshold))
        assert (mask <= before).all()
        before = mask
    assert before.sum() < 24**2


def test_images_of_independent_pixels_are_compared_at_each_pixel_alone() -> None:
    """All combinations of two values: the covariance is diagonal, so every pixel has a posterior of its own."""
    grid = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 4, indexing="ij"), -1).reshape(16, 1, 2, 2)
    x = np.random.default_rng(0).standard_normal((3, 1, 2, 2))
    actual = model_of("pca-locality", grid).denoise(torch.as_tensor(x), mosaic.Level(0.8, 0.6))
    np.testing.assert_allclose(actual, 0.5 * np.tanh(0.5 * 0.8 * x / 0.6**2), rtol=0, atol=1e-12)
