"""PCA locality over chosen images: brute force, the published code's numbers, the draws, and the limit of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import theory_oracle
import torch
from theories import (
    LEVELS,
    MANY,
    assert_agrees,
    assert_is_compared_with_its_class_only,
    images_of,
    model_of,
    noisy,
)

import mosaic
from mosaic_plugins.golden_subset import Counts

IN_PIECES = pytest.mark.usefixtures("pieces")


@IN_PIECES
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("side", [2, 4, 16])
def test_golden_subset_is_pca_locality_over_the_images_chosen(level: tuple[float, float], side: int) -> None:
    """Blocks of equal size, of unequal size, and of one pixel."""
    images = images_of(MANY, height=6, width=4)
    model = model_of("golden-subset", images, low=0.1, high=0.5, proxy=side, threshold=0.1)

    def exact(x: np.ndarray, a: float, s: float) -> np.ndarray:
        pool = model.pool(torch.as_tensor(x), MANY, mosaic.Level(a, s)).numpy()
        places = theory_oracle.golden_places(x, images, pool, a, s, 4, 20, side)
        return theory_oracle.pca_locality(x, images, a, s, 0.1, images[places])

    assert_agrees(model, noisy(images, level), level, exact)


@pytest.mark.parametrize("t", [900, 600, 300, 100, 20])
def test_it_agrees_with_the_numbers_of_the_published_code(published: Mapping[str, Any], t: int) -> None:
    """Given its draws: k_min is 6 and k_max 12 there, proxies are 8 x 8."""
    images, level = published["images_uint8"] / 127.5 - 1, mosaic.Level(*published[f"t{t}_level"].tolist())
    model = model_of("golden-subset", images, low=6 / 48, high=12 / 48, proxy=8)
    x = torch.as_tensor(published[f"t{t}_x"].astype(np.float64))
    pools, wanted = published[f"gold_t{t}_pool"], published[f"gold_t{t}_places"]
    assert model.counts(48, level) == (pools.shape[1], 12, wanted.shape[1])
    model.pool = lambda sample, count, level: torch.as_tensor(pools[int((x == sample).all((1, 2, 3)).nonzero())])
    for sample, places in zip(x, wanted, strict=True):
        pool = model.pool(sample, 48, level)
        assert model.places(model.fitted(None), sample, level, pool).tolist() == places.tolist()
    np.testing.assert_allclose(model.denoise(x, level), published[f"gold_t{t}_x0hat"], rtol=0, atol=3e-5)


def test_images_are_as_many_as_the_noise_says() -> None:
    model = model_of("golden-subset", images_of())
    assert model.counts(1000, mosaic.Level(1e-9, 1.0)) == Counts(100, 100, 100)
    assert model.counts(1000, mosaic.Level(1.0, 1e-9)) == Counts(1000, 100, 50)
    assert model.counts(1000, mosaic.Level(0.6, 0.8)) == Counts(280, 100, 90)
    assert model.counts(1000, mosaic.Level(3.0, 4.0)) == Counts(280, 100, 90)
    assert model.counts(3, mosaic.Level(1.0, 1e-9)) == Counts(3, 1, 1)


def test_images_are_drawn_anew_for_each_sample_and_step_and_by_nothing_else() -> None:
    images = images_of(MANY)
    model, level = model_of("golden-subset", images), mosaic.Level(0.6, 0.8)
    x = torch.as_tensor(noisy(images, (0.6, 0.8)))
    drawn = model.pool(x[0], 1000, level)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert len(drawn) == 280
    assert torch.equal(model.pool(x[0].float(), 1000, level), drawn)
    seeded = model_of("golden-subset", images, seed=1)
    others = [
        model.pool(x[1], 1000, level),
        model.pool(x[0], 1000, mosaic.Level(0.6, 0.81)),
        seeded.pool(x[0], 1000, level),
    ]
    assert not any(torch.equal(other[:200], drawn[:200]) for other in others)


def test_draws_are_uniform() -> None:
    """Each of 20 images is in a share of 11 / 20 of 400 pools; the bounds are five standard deviations away."""
    model, level = model_of("golden-subset", images_of(20)), mosaic.Level(1.0, 1.0)
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(400, 2, 4, 3, generator=generator, dtype=torch.float64)
    size = model.counts(20, level).pool
    times = torch.cat([model.pool(sample, 20, level) for sample in x]).bincount(minlength=20)
    share = size / 20
    assert (times - 400 * share).abs().max() < 5 * (400 * share * (1 - share)) ** 0.5


@IN_PIECES
@pytest.mark.parametrize("level", LEVELS)
def test_all_of_the_images_are_pca_locality(level: tuple[float, float]) -> None:
    images = images_of(MANY)
    x = torch.as_tensor(noisy(images, level))
    golden = model_of("golden-subset", images, low=1.0, high=1.0, threshold=0.1)
    whole = model_of("pca-locality", images, threshold=0.1)
    actual = golden.denoise(x, mosaic.Level(*level))
    torch.testing.assert_close(actual, whole.denoise(x, mosaic.Level(*level)), rtol=0, atol=1e-12)


@IN_PIECES
@pytest.mark.parametrize("side", [3, 16, 28])
def test_proxies_are_means_over_blocks(side: int) -> None:
    images = images_of(3, 2, 28, 20)
    model = model_of("golden-subset", images, proxy=side)
    for image, proxy in zip(images, model.proxies(torch.as_tensor(images)), strict=True):
        means = theory_oracle.block_means(image, side).reshape(-1, 2).T.ravel()
        np.testing.assert_allclose(proxy, means, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "side"), [(8, 8), (28, 16), (32, 16), (64, 32)])
def test_proxies_are_of_the_published_size(size: int, side: int) -> None:
    model = model_of("golden-subset", np.zeros((1, 1, size, size)))
    assert model.proxies(torch.zeros(1, 1, size, size)).shape == (1, side * side)


def test_equally_near_images_are_chosen_in_their_order() -> None:
    images = images_of(MANY)
    images[20:] = images[:20]
    model, level = model_of("golden-subset", images, low=0.25, high=0.25), mosaic.Level(0.8, 0.6)
    places = model.places(model.fitted(None), torch.as_tensor(images[25]), level, torch.arange(MANY)).tolist()
    assert len(places) == 10
    assert all(place < 20 or place - 20 in places for place in places)


def test_least_may_not_exceed_most() -> None:
    with pytest.raises(mosaic.UsageError, match=r"0\.2"):
        mosaic.registry().make("score", "golden-subset", {"low": 0.3, "high": 0.2}, None)


@IN_PIECES
def test_a_sample_with_a_label_is_compared_with_its_class_only() -> None:
    assert_is_compared_with_its_class_only("golden-subset")
