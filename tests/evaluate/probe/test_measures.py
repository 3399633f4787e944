"""Measures of matrices whose values are known, and errors of functions that do or do not follow shifts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mosaic.evaluate.probe import measures


def matrix(size: int = 7) -> Tensor:
    return torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_curl_is_the_antisymmetric_share() -> None:
    own = matrix()
    symmetric, antisymmetric = own + own.T, own - own.T
    assert measures.curl(symmetric) == 0
    assert measures.curl(antisymmetric) == pytest.approx(1)
    turned = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)  # as much of each
    assert measures.curl(turned) == pytest.approx(math.sqrt(0.5))
    assert measures.curl(5 * own) == pytest.approx(measures.curl(own))
    assert 0 < measures.curl(own) < 1


def test_eigenvectors_are_those_of_the_symmetric_part_the_largest_first() -> None:
    own = matrix()
    values, rows = measures.eigenbasis(own)
    symmetric = (own + own.T) / 2
    torch.testing.assert_close(rows @ symmetric, values[:, None] * rows)
    torch.testing.assert_close(rows @ rows.T, torch.eye(7, dtype=torch.float64))
    assert values.tolist() == sorted(values.tolist(), reverse=True)
    assert bool((rows.sum(1) >= 0).all())


def test_the_effective_rank_counts_equal_eigenvalues() -> None:
    assert measures.effective_rank(torch.tensor([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3)
    assert measures.effective_rank(torch.tensor([2.0, -2.0])) == pytest.approx(2)
    assert 1 < measures.effective_rank(torch.tensor([1.0, 0.1])) < 1.3


def test_similarity_is_a_cosine() -> None:
    own, other = matrix(), matrix().flip(0)
    assert measures.cosine(own, 3 * own) == pytest.approx(1)
    assert measures.cosine(own, -own) == pytest.approx(-1)
    assert measures.cosine(own + own.T, own - own.T) == pytest.approx(0, abs=1e-12)
    assert abs(measures.cosine(own, other)) < 1


def test_what_vanishes_has_no_direction() -> None:
    own, nothing = matrix(), torch.zeros(7, 7, dtype=torch.float64)
    assert math.isnan(measures.curl(1e-9 * own))
    assert math.isnan(measures.effective_rank(nothing[0]))
    assert math.isnan(measures.cosine(own, nothing))


def test_shifts_are_seeded_and_none_is_none() -> None:
    drawn = measures.seeded_shifts(0, 500, 8, 13)
    assert drawn == measures.seeded_shifts(0, 500, 8, 13) != measures.seeded_shifts(1, 500, 8, 13)
    assert set(drawn) == {(i, j) for i in range(-2, 3) for j in range(-2, 3)} - {(0, 0)}
    assert set(measures.seeded_shifts(0, 99, 2, 2)) == {(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(0, 0)}


def padded(x: Tensor) -> Tensor:
    """Sum over 3 x 3 windows, zeros beyond the border."""
    return torch.nn.functional.avg_pool2d(x, 3, 1, 1) * 9


SHIFTS = [(1, 0), (-2, 1)]


def test_a_function_that_follows_shifts_has_no_error() -> None:
    x = torch.randn(2, 1, 7, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole, inside = measures.equivariance_errors(lambda x: x**2 + x.roll(1, 3), x, SHIFTS, 3)
    assert whole.tolist() == inside.tolist() == [0, 0]


def test_a_border_is_met_by_the_windows_that_reach_it_only() -> None:
    x = torch.randn(2, 1, 7, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole, inside = measures.equivariance_errors(padded, x, SHIFTS, 3)
    assert bool((whole > 0.1).all())
    torch.testing.assert_close(inside, torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    _, too_far = measures.equivariance_errors(padded, x, SHIFTS, 1)  # one more pixel at each side
    assert bool((too_far > 0.1).all())
    for window in (7, None):
        assert bool(measures.equivariance_errors(padded, x, SHIFTS, window)[1].isnan().all())


def test_the_error_is_a_root_mean_square() -> None:
    """Of a function that adds the column's number: a shift by j changes it by j, and by j - W where it wraps."""
    x, columns = torch.zeros(1, 1, 4, 5, dtype=torch.float64), torch.arange(5.0, dtype=torch.float64)
    whole, inside = measures.equivariance_errors(lambda x: x + columns, x, [(0, 2), (1, 0)], 1)
    squares = [*[4.0] * 3, *[9.0] * 2, *[0.0] * 5]
    assert whole.item() == pytest.approx(math.sqrt(sum(squares) / 10))
    assert inside.item() == pytest.approx(math.sqrt((4 * 3 * 4.0) / (4 * 3 + 3 * 5)))
