"""The picture of what all samples of a run are made of: how many training images, in tiles of what sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.storage.requirements import require, title_of
from mosaic.storage.schema import SAVED_WITH_IMAGE
from mosaic.view.colours import BLUE
from mosaic.view.mosaics import sources_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SOURCES_NEED", "draw_sources"]

SOURCES_NEED = tuple(SAVED_WITH_IMAGE)

LIGHT_GREY = "#b0b0b0"


def draw_sources(run: xr.Dataset) -> Figure:
    """Draw, for each sample, how many training images it is made of, and how large its tiles are.

    Raises
    ------
    DataError
        If the run holds no provenance.
    """
    from mosaic.view.figure import Picture, count_along

    run = require(run, SOURCES_NEED)
    counts = sources_of(run)
    figure = Picture(8.4, 3.2, f"{title_of(run)}: source images of the final images, and tiles copied whole")
    left, right = figure.subplots(1, 2)
    places = np.arange(counts.sizes["sample"])
    for which, colour, shift in (("all", LIGHT_GREY, -0.2), ("untied", BLUE, 0.2)):
        counted = counts.sel(pixels=which)
        share = float(counted["pixel_share"].mean())
        label = "all pixels" if which == "all" else f"pixels without equals ({100 * share:.0f} %)"
        left.bar(places + shift, counted["images"], 0.4, color=colour, label=label)
        sizes = np.sort(counted["tile_size"].values[counted["tile_size"].values > 0])
        if len(sizes):
            covered = 1 - np.concatenate([[0], np.cumsum(sizes)[:-1]]) / sizes.sum()
            right.step(sizes, covered, where="pre", color=colour, linewidth=2)
    left.set_xlabel("sample")
    left.set_ylabel("training images it is made of")
    left.set_ylim(bottom=0)
    left.set_xlim(-0.6, len(places) - 0.4)
    count_along(left.xaxis, left.yaxis)
    right.set_xscale("log", base=2)
    right.xaxis.set_major_formatter("{x:.0f}")
    right.set_xlabel("pixels of a tile")
    right.set_ylabel("share of pixels in\ntiles at least as large")
    right.set_ylim(0, 1.02)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure
