"""Drawing shared by several figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

from mosaic.view.images import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_roles"]


def draw_roles(measured: xr.Dataset, samples: Sequence[int], titles: Sequence[str], title: str) -> Figure:
    """Draw final images from the same noise, a line for each role and a column for each sample.

    Parameters
    ----------
    measured : xarray.Dataset
        `image` (role, sample, channel, height, width), and `pearson_r` (role, sample) with the network, which is
        written above the images where it is not NaN; attribute `dataset_range`.
    samples : sequence of int
        Positions along `sample`.
    titles : sequence of str
        What is written above each column.
    title : str
        What is written above all.
    """
    from mosaic.view.figure import fitted, grid, name_rows, sides_of

    roles = measured["role"].values.tolist()
    shape = measured.sizes["height"], measured.sizes["width"]
    above = [16, *[8] * (len(roles) - 1)]
    figure, axes = grid(len(roles), len(samples), shape, title, size=8, above=above, left=0.9)
    for row, role in enumerate(roles):
        for column, sample in enumerate(samples):
            axis, cell = axes[row, column], measured.sel(role=role).isel(sample=sample)
            draw_image(axis, cell["image"], measured)
            r = float(cell["pearson_r"])
            names = [fitted(titles[column], sides_of(shape)[1], 7)] * (row == 0)
            axis.set_title("\n".join(names + ([] if math.isnan(r) else [f"r = {r:.2f}"])), fontsize=7, pad=2)
    name_rows(axes, [fitted(role, 0.8, 8, 2) for role in roles], 8)
    return figure
