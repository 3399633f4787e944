"""What several figures are drawn with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

from mosaic.picture import draw_image, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_roles"]


def draw_roles(found: xr.Dataset, samples: Sequence[int], titles: Sequence[str]) -> Figure:
    """Draw final images from the same noise, a line for each role and a column for each sample.

    Parameters
    ----------
    found : xarray.Dataset
        `image` (role, sample, channel, height, width), and `pearson_r` (role, sample) with the network, which is
        written above the images where it is no NaN; attribute `dataset_range`.
    samples : sequence of int
        Positions along `sample`.
    titles : sequence of str
        What is written above each column.
    """
    roles = found["role"].values.tolist()
    figure, axes = grid(len(roles), len(samples), 1.0, found.sizes["height"] / found.sizes["width"] * 1.15)
    for row, role in enumerate(roles):
        for column, sample in enumerate(samples):
            axis, one = axes[row, column], found.sel(role=role).isel(sample=sample)
            draw_image(axis, one["image"], found)
            r = float(one["pearson_r"])
            words = [titles[column]] * (row == 0) + ([] if math.isnan(r) else [f"r = {r:.2f}"])
            axis.set_title("\n".join(words), fontsize=7, pad=2)
        axes[row, 0].set_ylabel(role, fontsize=8)
    return figure
