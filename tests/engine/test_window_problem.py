"""Windows are compared in blocks, to the same result, and candidates are numbered over the whole training set."""

from __future__ import annotations

import itertools

import oracle
import pytest
import torch

import mosaic
from mosaic.engine.precision import Arithmetic
from mosaic.engine.window_problem import WindowProblem
from mosaic.engine.windows import cut_windows, window_axis


@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_large_windows_are_cut_in_blocks_to_the_same_result(tiny: mosaic.DataSet, engine: str) -> None:
    x = torch.randn(2, 1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for boundary in ("zeros", "circular", "valid"):
        whole, cut = (
            mosaic.equivariant_local_posterior(
                x, tiny.images, mosaic.Level(0.6, 0.8), 3, boundary, compute=mosaic.Compute(engine, block=block)
            ).mean()
            for block in (2**20, 10)
        )
        torch.testing.assert_close(cut, whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("engine", ["torch", "reference"])
@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_blocks_name_the_candidates_that_one_block_names(tiny: mosaic.DataSet, engine: str, boundary: str) -> None:
    x = torch.randn(2, 1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images = tiny.images + 0.1 * torch.randn(12, 1, 6, 5, generator=torch.Generator().manual_seed(1))
    whole, cut = (
        mosaic.equivariant_local_posterior(
            x, images, mosaic.Level(0.6, 0.8), 3, boundary, compute=mosaic.Compute(engine, True, block)
        )
        for block in (2**20, 100)
    )
    assert whole.source is not None
    assert torch.equal(cut.source, whole.source)
    torch.testing.assert_close(cut.entropy(), whole.entropy(), rtol=0, atol=1e-12)


def problem_of(x: torch.Tensor, images: torch.Tensor, k: int, boundary: str) -> WindowProblem:
    rows, cols = (window_axis(size, k, boundary) for size in images.shape[2:])
    weights = torch.arange(images[:, 0].numel(), dtype=torch.float64).view(len(images), *images.shape[2:])
    arithmetic = Arithmetic(torch.float64, expanded=False)
    return WindowProblem(x, images, mosaic.Level(0.8, 0.6), rows, cols, weights, images, arithmetic, mosaic.Compute())


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_candidates_of_bands_have_their_own_windows_values_weights_and_numbers(boundary: str) -> None:
    x, images = torch.rand(2, 2, 4, 6, dtype=torch.float64) + 1, torch.rand(5, 2, 4, 6, dtype=torch.float64) + 1
    problem, first = problem_of(x, images, 3, boundary), 2
    for rows, cols in itertools.product(problem.rows.bands, problem.cols.bands):
        places = [(n, i, j) for n in range(first, 5) for i in rows.candidates for j in cols.candidates]
        windows = cut_windows(problem.image_part(images[first:], rows, cols, torch.float64), rows.width, cols.width)
        values = problem.values_part(first, images[first:], rows, cols)
        weights = problem.weights_part(first, 3, rows.candidates, cols.candidates).reshape(-1)
        numbers = problem.source(torch.arange(len(places)), first, rows.candidates, cols.candidates)
        for m, (n, i, j) in enumerate(places):
            expected = oracle.window(images[n].numpy(), i, j, 3, boundary == "circular")
            assert windows[m].flatten().tolist() == expected[expected != 0].tolist()  # all pixels are 1 or more
            assert values[m].tolist() == images[n, :, i, j].tolist()
            assert int(weights[m]) == int(numbers[m]) == (n * 4 + i) * 6 + j
