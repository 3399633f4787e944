"""The picture of how many training images samples are made of, and of their tiles."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.view.sources import draw_sources


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=4, samples=3, scales="3", save="provenance,entropy", save_steps="all")


def test_bars_are_numbers_of_training_images(run: xr.Dataset) -> None:
    bars = [bar.get_height() for bar in draw_sources(run).axes[0].patches]
    assert bars == run.mosaic.sources()["images"].values.ravel().tolist()


def test_shares_of_pixels_in_large_tiles_fall_from_all_to_the_largest_tiles_share(run: xr.Dataset) -> None:
    right = draw_sources(run).axes[1]
    sizes = np.sort(run.mosaic.sources()["tile_size"].sel(pixels="all").values.ravel())
    sizes = sizes[sizes > 0]
    curve = right.lines[0]
    np.testing.assert_array_equal(curve.get_xdata(), sizes)
    expected = [sizes[place:].sum() / sizes.sum() for place in range(len(sizes))]
    np.testing.assert_allclose(curve.get_ydata(), expected)
    with pytest.raises(mosaic.DataError, match="`save` provenance"):
        draw_sources(run.drop_vars("source_image"))
