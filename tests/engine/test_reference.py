"""The reference engine: the oracle's numbers in float64, at noise at which products of windows would cancel."""

from __future__ import annotations

import itertools

import numpy as np
import oracle
import pytest
import torch

import mosaic
from mosaic import Compute, Level
from mosaic.engine.naive import naive_els
from mosaic.engine.precision import Arithmetic
from mosaic.engine.reference import reference_band, workspace_bytes
from mosaic.engine.window_problem import WindowProblem
from mosaic.engine.windows import window_axis

IMAGES = torch.rand(5, 2, 6, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1


def noisy(noise: float, dtype: torch.dtype) -> torch.Tensor:
    draws = torch.randn(2, 2, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (IMAGES[:2].double() + noise * draws).to(dtype)


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
@pytest.mark.parametrize("noise", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_oracle_in_float64_whatever_the_input_is(boundary: str, noise: float, dtype: torch.dtype) -> None:
    x, images = noisy(noise, dtype), IMAGES.to(dtype)
    actual = mosaic.equivariant_local_posterior(
        x, images, Level(1.0, noise), 3, boundary, compute=Compute("reference")
    ).mean()
    arrays = images.double().numpy()
    expected = [oracle.els(sample, arrays, 1.0, noise, 3, boundary) for sample in x.double().numpy()]
    assert actual.dtype == torch.float64
    np.testing.assert_allclose(actual, np.stack(expected), rtol=0, atol=1e-10)


def test_it_keeps_what_a_product_in_float32_cancels() -> None:
    level = Level(1.0, 2e-3)
    images = 0.9 + 2e-3 * IMAGES  # all windows are about one noise apart
    x = images[:2] + 2e-3 * torch.randn(2, 2, 6, 5, generator=torch.Generator().manual_seed(2))
    exact = naive_els(x.double(), images.double(), level, 5)
    reference = mosaic.equivariant_local_posterior(x, images, level, 5, compute=Compute("reference")).mean()
    cancelled = naive_els(x, images, level, 5, product=True)
    assert float((reference - exact).abs().max()) < 1e-10
    assert float((cancelled - exact).abs().max()) > 1e-5


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
@pytest.mark.parametrize("block", [1, 37, 2**20])
def test_a_pair_of_bands_is_brute_force_over_its_candidates(boundary: str, block: int) -> None:
    x, images, level = noisy(0.5, torch.float64), IMAGES.double(), Level(0.8, 0.5)
    rows, cols = (window_axis(size, 3, boundary) for size in (6, 5))
    compute, how = Compute("reference", True, block), Arithmetic(torch.float64, expanded=False)
    problem = WindowProblem(x, images, level, rows, cols, None, images, how, compute)
    brute = {
        (pixel.row, pixel.column): pixel
        for pixel in oracle.pixels("els", boundary, x[1].numpy(), images.numpy(), level.signal, 3)
    }
    for row_band, col_band in itertools.product(rows.bands, cols.bands):
        posterior = reference_band(problem, row_band, col_band)
        image, row, column = (posterior.source // 30, posterior.source // 5 % 6, posterior.source % 5)
        for (i, p), (j, q) in itertools.product(enumerate(row_band.pixels), enumerate(col_band.pixels)):
            pixel, at = brute[p, q], (1, i, j)
            weights = pixel.weights(level.noise)
            assert posterior.mean()[1, :, i, j].tolist() == pytest.approx(list(weights @ pixel.centres), abs=1e-12)
            assert float(1 / posterior.total[at]) == pytest.approx(weights.max(), abs=1e-12)
            assert (int(image[at]), int(row[at]), int(column[at])) == pixel.places[int(weights.argmax())]


def test_its_workspace_grows_with_blocks_windows_and_batch_but_not_past_whole_images() -> None:
    shape = (3, 16, 16)
    assert workspace_bytes(2, shape, 5, 2**20) > workspace_bytes(2, shape, 5, 2**10)
    assert workspace_bytes(2, shape, 7, 2**10) > workspace_bytes(2, shape, 5, 2**10)
    assert workspace_bytes(4, shape, 5, 2**10) > workspace_bytes(2, shape, 5, 2**10)
    assert workspace_bytes(2, shape, 99, 2**10) == workspace_bytes(2, shape, 17, 2**10)
