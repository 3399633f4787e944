"""Tiles and sources of mosaics, and when pixels are decided."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from flooding import flooded

import mosaic
import mosaic.view.accessor
from mosaic.view.mosaics import collapse_times, tile_sizes, tiles_of


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=6, samples=3, scales="3", save_steps="all")


@pytest.mark.parametrize("seed", range(8))
def test_tiles_by_flooding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((9, 7))
    image = rng.integers(-1, 2, (9, 7))
    row, column = rows + rng.integers(0, 2, (9, 1)), cols + rng.integers(0, 2, (1, 7))
    actual = tiles_of(image, row, column)
    assert tile_sizes(actual).tolist() == flooded(image, row, column)
    assert (actual >= 0).sum() == (image >= 0).sum()
    assert sorted(set(actual[actual >= 0].tolist())) == list(range(actual.max() + 1))


def test_a_snake_is_a_single_tile() -> None:
    image = np.full((7, 7), -1)
    image[[0, 2, 4, 6]] = 3
    image[1, 6] = image[3, 0] = image[5, 6] = 3
    rows, cols = np.indices((7, 7))
    assert tile_sizes(tiles_of(image, rows, cols)).tolist() == [31]


def test_a_majority_that_changes_hands_decides_nothing() -> None:
    dims = ("sample", "step", "height", "width")
    candidate = np.array([4, 7, 7]).reshape(1, 3, 1, 1)
    variables = {f"candidate_{name}": (dims, candidate) for name in ("image", "row", "column")}
    variables |= {"candidate_weight": (dims, np.full((1, 3, 1, 1), 0.9))}
    for multiplicity, expected in ((1, 0.6), (2, 1.0)):
        more = {"candidate_multiplicity": (dims, np.full((1, 3, 1, 1), multiplicity))}
        kept = xr.Dataset({**variables, **more}, {"sample": [0], "time": ("step", [1.0, 0.6, 0.3])})
        assert collapse_times(kept).values.tolist() == [[[expected]]]
    with pytest.raises(mosaic.DataError, match="save_steps"):
        mosaic.run("els", "digits", steps=3, samples=1, scales="3").mosaic.collapse_time()
