"""Images from the same noise side by side."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable, pixels_of

from mosaic.reproduction.paper.pictures import draw_roles


def measured(channels: int = 1) -> xr.Dataset:
    """Two roles, three samples of 4 x 6 pixels in a range of [0, 2]."""
    images = np.random.default_rng(0).uniform(0, 2, (2, 3, channels, 4, 6))
    return xr.Dataset(
        {
            "image": (("role", "sample", "channel", "height", "width"), images),
            "pearson_r": (("role", "sample"), [[np.nan] * 3, [0.123, -0.5, 1.0]]),
        },
        {"role": ["network", "ELS"]},
        {"dataset_range": "[0.0, 2.0]"},
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_each_role_has_a_line_and_each_sample_a_column(channels: int) -> None:
    data = measured(channels)
    axes = np.reshape(draw_roles(data, [2, 0], ["third", "first"], "mine").axes, (2, 2))
    for (row, column), axis in np.ndenumerate(axes):
        image = data["image"].values[row, [2, 0][column]] / 2  # of [0, 2], in [0, 1]
        expected = np.moveaxis(image, 0, -1) if channels == 3 else image[0]
        np.testing.assert_allclose(pixels_of(axis), expected, rtol=0, atol=1e-12)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["network", "ELS"]
    assert [axis.get_title() for axis in axes.flat] == ["third", "first", "r = 1.00", "r = 0.12"]


def test_names_that_are_long_are_readable() -> None:
    data = measured().assign_coords(role=["the network of a long name", "ELS"])
    check_readable(draw_roles(data, [0, 1, 2], ["a class of a very long name"] * 3, "from the same noise " * 5))
