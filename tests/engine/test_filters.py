"""Filters: profiles of windows, what they answer for, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic import Filters, Move


def test_one_filter_for_whole_images() -> None:
    filters = Filters.whole((2, 3, 4))
    assert filters.precisions.tolist() == [[1.0] * 24]
    assert filters.responses.tolist() == [0] * 24


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
@pytest.mark.parametrize("width", [None, 0.7, 3.0])
@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_windows_are_products_of_profiles_about_each_pixel(k: int, width: float | None, boundary: str) -> None:
    channels, height, widths = 2, 5, 4
    profile = None if width is None else [np.exp(-(u**2) / (2 * width**2)) for u in range(-(k // 2), k // 2 + 1)]
    filters = Filters.windows((channels, height, widths), k, boundary, profile=profile)
    expected = np.zeros((height * widths, channels, height, widths))
    for row in range(height):
        for column in range(widths):
            for i in range(-(k // 2), k // 2 + 1):
                for j in range(-(k // 2), k // 2 + 1):
                    inside = 0 <= row + i < height and 0 <= column + j < widths
                    value = 1.0 if width is None else np.exp(-(i**2 + j**2) / (2 * width**2))
                    if inside or boundary != "zeros":
                        expected[row * widths + column, :, (row + i) % height, (column + j) % widths] += value
    np.testing.assert_allclose(filters.precisions, expected.reshape(20, 40), rtol=0, atol=1e-14)
    assert filters.responses.tolist() == [*range(20), *range(20)]


def test_a_pair_of_profiles_is_of_rows_and_columns() -> None:
    rows, cols = [0.2, 1.0, 0.5], [0.3, 1.0, 0.7]
    precisions = Filters.windows((1, 5, 4), 3, profile=(rows, cols)).precisions.view(5, 4, 5, 4)
    torch.testing.assert_close(precisions[2, 1, 1:4, :3], torch.outer(*torch.tensor([rows, cols], dtype=torch.float64)))
    covering = Filters.windows((1, 5, 4), 3, profile=(rows, cols), response="covered")
    torch.testing.assert_close(covering.responses, Filters.windows((1, 5, 4), 3, response="covered").responses)


@pytest.mark.parametrize(("k", "boundary", "count"), [(3, "zeros", 3 * 2), (4, "zeros", 2), (2, "circular", 20)])
def test_covering_windows_lie_inside_and_share_their_pixels(k: int, boundary: str, count: int) -> None:
    filters = Filters.windows((1, 5, 4), k, boundary, response="covered")
    assert filters.precisions.sum(1).tolist() == [k * k] * count
    covered = (filters.precisions > 0).double()
    torch.testing.assert_close(filters.responses, covered / covered.sum(0))


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_every_pixel_has_the_translates_of_the_machine(k: int, boundary: str) -> None:
    """As many as its axes have pairs, and each of them once."""
    moves = Move.translates(6, 5, k, boundary)
    assert sorted(move.shift for move in moves) == [(i, j) for i in range(6) for j in range(5)]
    allowed = torch.stack([move.allowed for move in moves if move.allowed is not None])
    pairs = [mosaic.window_axis(size, k, boundary).pairs for size in (6, 5)]
    assert int(allowed.sum()) == pairs[0] * pairs[1]
    still = moves[0].allowed
    assert still is not None
    assert bool(still.all()) == (boundary != "valid" or k == 1)


GOOD = torch.ones(2, 6, dtype=torch.float64)


@pytest.mark.parametrize(
    ("precisions", "responses", "value"),
    [
        (GOOD[0], GOOD[0], r"\(6,\)"),
        (GOOD, GOOD[:, :5], r"\(2, 5\)"),
        (GOOD[:0], GOOD[:0], r"\(0, 6\)"),
        (-GOOD, GOOD / 2, "0"),
        (GOOD / 0, GOOD / 2, "finite"),
        (GOOD, GOOD, "1"),
        (GOOD, torch.full((6,), 2), "1"),
        (GOOD, torch.full((6,), -1), "1"),
    ],
)
def test_filters_that_do_not_fit_are_refused(precisions: Any, responses: Any, value: str) -> None:
    with pytest.raises(mosaic.UsageError, match=value):
        Filters(precisions, responses)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"k": 4}, "4"),
        ({"k": 3, "boundary": "mirror"}, "mirror"),
        ({"k": 3, "boundary": "valid", "response": "covered"}, "valid"),
        ({"k": 3, "response": "all"}, "all"),
        ({"k": 5, "response": "covered"}, "5 pixels"),
        ({"k": 3, "profile": [1.0, 1.0]}, "3 weights"),
        ({"k": 3, "profile": ([1.0] * 3, [1.0] * 2)}, "3 weights"),
    ],
)
def test_windows_that_cannot_be_are_refused_with_their_value(arguments: dict[str, Any], value: str) -> None:
    with pytest.raises(mosaic.UsageError, match=value):
        Filters.windows((1, 5, 4), **arguments)
