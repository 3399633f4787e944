"""The picture of `windows`: ratios of errors over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.windows.variants import BASELINE
from mosaic.view.colours import PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_ratios"]

ACROSS = 3  # panels beside each other
DASHES = ("-", "--", ":")


def draw_ratios(measured: xr.Dataset) -> Figure:
    """Draw the ratio (row, variant, time) of each variant over time, a panel a row."""
    from mosaic.view.figure import Picture

    rows = measured["row"].values.tolist()
    across = min(ACROSS, len(rows))
    down = -(-len(rows) // across)
    figure = Picture(3.2 * across + 2.4, 3.0 * down)
    axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
    names = [name for name in measured["variant"].values.tolist() if name != BASELINE]
    for axis, row in zip(axes, rows, strict=False):
        axis.axhline(1, color="black", linewidth=1.2, label=BASELINE)
        for number, variant in enumerate(names):
            ratio = measured["ratio"].sel(row=row, variant=variant)
            color, dashes = PALETTE[number % len(PALETTE)], DASHES[number // len(PALETTE)]
            axis.plot(ratio["time"], ratio, dashes, marker="o", markersize=3, linewidth=1.2, color=color, label=variant)
        axis.set_title(row_named(row).title, fontsize=9)
        axis.set_xlabel("time t", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_ylabel("error over that of hard windows", fontsize=8)
        axis.grid(axis="y", color="#dddddd")
    for axis in axes[len(rows) :]:
        axis.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return figure
