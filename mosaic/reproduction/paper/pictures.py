"""Drawing shared by several figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

from mosaic.view.images import draw_image, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_roles"]


def draw_roles(measured: xr.Dataset, samples: Sequence[int], titles: Sequence[str]) -> Figure:
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
    """
    roles = measured["role"].values.tolist()
    figure, axes = grid(len(roles), len(samples), 1.0, measured.sizes["height"] / measured.sizes["width"] * 1.15)
    for row, role in enumerate(roles):
        for column, sample in enumerate(samples):
            axis, cell = axes[row, column], measured.sel(role=role).isel(sample=sample)
            draw_image(axis, cell["image"], measured)
            r = float(cell["pearson_r"])
            title = [titles[column]] * (row == 0) + ([] if math.isnan(r) else [f"r = {r:.2f}"])
            axis.set_title("\n".join(title), fontsize=7, pad=2)
        axes[row, 0].set_ylabel(role, fontsize=8)
    return figure
