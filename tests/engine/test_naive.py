"""The equivariant local score on one page, held to the brute force, which loops over pixels and windows in NumPy."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch

import mosaic
from mosaic.engine.naive import naive_els

IMAGES = torch.rand(5, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
X = torch.randn(3, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("noise", [1e-2, 0.6, 1.0])
def test_it_agrees_with_the_brute_force(boundary: str, k: int, noise: float) -> None:
    level = mosaic.Level(float(np.sqrt(1 - noise**2)), noise)
    expected = [oracle.els(x, IMAGES.numpy(), level.signal, level.noise, k, boundary) for x in X.numpy()]
    np.testing.assert_allclose(naive_els(X, IMAGES, level, k, boundary), np.stack(expected), rtol=0, atol=1e-11)


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_the_engines_agree_with_it(boundary: str) -> None:
    level = mosaic.Level(0.8, 0.6)
    posterior = mosaic.equivariant_local_posterior(X, IMAGES, level, 3, boundary=boundary)
    torch.testing.assert_close(posterior.mean(), naive_els(X, IMAGES, level, 3, boundary), rtol=0, atol=1e-11)


def test_a_boundary_that_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError, match="reflect"):
        naive_els(X, IMAGES, mosaic.Level(0.8, 0.6), 3, "reflect")


def test_the_product_gives_the_same_at_large_noise() -> None:
    level = mosaic.Level(0.8, 0.6)
    compared, multiplied = (naive_els(X, IMAGES, level, 3, product=product) for product in (False, True))
    torch.testing.assert_close(compared, multiplied, rtol=0, atol=1e-12)
    assert not torch.equal(compared, multiplied)  # they are two evaluations


def test_a_window_the_size_of_a_pixel_compares_colours_only() -> None:
    """At k = 1 the weights of a pixel are those of all training pixels, wherever they are."""
    level = mosaic.Level(0.8, 0.6)
    colours = IMAGES.permute(0, 2, 3, 1).reshape(-1, 2)
    distances = ((X.permute(0, 2, 3, 1)[..., None, :] - level.signal * colours) ** 2).sum(-1)
    expected = (-distances / (2 * level.noise**2)).softmax(-1) @ colours
    torch.testing.assert_close(naive_els(X, IMAGES, level, 1), expected.permute(0, 3, 1, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_soft_windows_on_one_page_are_those_of_the_engines(boundary: str) -> None:
    generator = torch.Generator().manual_seed(6)
    images = torch.rand(4, 2, 7, 6, generator=generator, dtype=torch.float64) * 2 - 1
    x, level = (
        images[:2] + 0.4 * torch.randn(2, 2, 7, 6, generator=generator, dtype=torch.float64),
        mosaic.Level(0.9, 0.4),
    )
    pair = torch.tensor([[0.2, 0.7, 1.0, 0.6, 0.1], [0.1, 0.4, 1.0, 0.5, 0.2]], dtype=torch.float64)
    for profile in (pair[0], pair):
        soft = naive_els(x, images, level, 5, boundary, profile=profile)
        expected = mosaic.equivariant_local_posterior(x, images, level, 5, boundary, profile=profile.tolist()).mean()
        torch.testing.assert_close(soft, expected, rtol=0, atol=1e-10)
        assert float((soft - naive_els(x, images, level, 5, boundary)).abs().max()) > 1e-2
