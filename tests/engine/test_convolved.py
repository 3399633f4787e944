"""The torch engine: windows compared as a convolution, to the numbers of the definition."""

from __future__ import annotations

import itertools

import pytest
import torch
from candidate_posteriors import ADVERSARIAL, adversarial, by_reference, noisy_case

import mosaic
from mosaic import Compute, Level
from mosaic.engine.convolved import convolved_band
from mosaic.engine.precision import Arithmetic
from mosaic.engine.reference import reference_band
from mosaic.engine.window_problem import WindowProblem
from mosaic.engine.windows import window_axis


@pytest.mark.parametrize("noise", [1e-3, 1e-2, 0.3, 80.0])
@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_cases_agree_with_float64(case: str, noise: float) -> None:
    x, images, level = adversarial(case, noise)
    for k in (1, 5, 17):
        actual = mosaic.equivariant_local_posterior(x, images, level, k, "zeros", compute=Compute("torch")).mean()
        torch.testing.assert_close(actual, by_reference(x, images, level, k, "zeros"), rtol=0, atol=2e-4)


def test_an_overflowing_reference_of_the_torch_engine_is_redone() -> None:
    """The first images set the references; here a later one is thousands of bits nearer."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 1, 8, 8, generator=generator) * 0.01
    images[-1] = 1
    x = images[-1:] + 0.05 * torch.randn(1, 1, 8, 8, generator=generator)
    level = Level(1.0, 0.05)
    actual, expected = (
        mosaic.equivariant_local_posterior(x, images, level, 3, compute=Compute(engine)).mean()
        for engine in ("torch", "reference")
    )
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=2e-4)


def band_problem(boundary: str, k: int, *, diagnostics: bool = False, block: int = 2**20) -> WindowProblem:
    """Windows of six images, weighted, of which other values than pixels are averaged."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 2, 6, 5, generator=generator, dtype=torch.float64) * 2 - 1
    x = 0.8 * images[:3] + 0.6 * torch.randn(3, 2, 6, 5, generator=generator, dtype=torch.float64)
    weights = torch.rand(6, 6, 5, generator=generator, dtype=torch.float64)
    values = torch.randn(6, 3, 6, 5, generator=generator, dtype=torch.float64)
    rows, cols = (window_axis(size, k, boundary) for size in (6, 5))
    compute = Compute("torch", diagnostics, block)
    exact = Arithmetic(torch.float64, expanded=True)
    return WindowProblem(x, images, Level(0.8, 0.6), rows, cols, weights.log2(), values, exact, compute)


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
@pytest.mark.parametrize(("k", "block"), [(1, 2**20), (3, 2**20), (5, 2**20), (3, 50)])
@pytest.mark.parametrize("diagnostics", [False, True])
def test_every_pair_of_bands_is_that_of_the_reference(boundary: str, k: int, block: int, diagnostics: bool) -> None:
    problem = band_problem(boundary, k, diagnostics=diagnostics, block=block)
    for rows, cols in itertools.product(problem.rows.bands, problem.cols.bands):
        actual, expected = (engine(problem, rows, cols) for engine in (convolved_band, reference_band))
        assert actual.weighted.shape == (3, 3, len(rows.pixels), len(cols.pixels))
        torch.testing.assert_close(actual.mean(), expected.mean(), rtol=0, atol=1e-12)
        if diagnostics:
            torch.testing.assert_close(actual.entropy(), expected.entropy(), rtol=0, atol=1e-11)
            assert torch.equal(actual.source, expected.source)


def test_references_from_the_first_images_decide_no_number() -> None:
    images, level = noisy_case(1, 0.4, count=64)[1].double(), Level(0.9, 0.4)
    x = images[:2] + 0.4 * torch.randn(2, 1, 7, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    order = torch.arange(63, -1, -1)
    means = [
        mosaic.equivariant_local_posterior(x, part, level, 3, compute=Compute("torch", block=2**11)).mean()
        for part in (images, images[order])
    ]
    torch.testing.assert_close(*means, rtol=0, atol=1e-13)
