"""The picture of `circular`: scales over time, and agreement with the network and with the ideal network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.reproduction.study.agreement import ENDS
from mosaic.reproduction.study.rows import row_named
from mosaic.view.colours import BLUE, GREEN, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_boundaries"]

COLORS = {"circular": BLUE, "valid": ORANGE}


def draw_boundaries(measured: xr.Dataset) -> Figure:
    """Draw a line of two panels for each row: locality scales over time, and pearson_r with its interval."""
    from mosaic.view.figure import Picture

    rows = measured["row"].values.tolist()
    figure = Picture(9.4, 3.2 * len(rows))
    axes = figure.subplots(len(rows), 2, squeeze=False)
    for (left, right), name in zip(axes, rows, strict=True):
        _draw_scales(left, measured.sel(row=name))
        _draw_agreement(right, measured.sel(row=name))
        left.set_title(row_named(name).title, fontsize=9)
    for axis in axes.ravel():
        axis.tick_params(labelsize=7)
        axis.grid(axis="y", color="#dddddd")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return figure


def _draw_scales(axis: Axes, row: xr.Dataset) -> None:
    times = row["time"].values
    of_network = [(row.sel(boundary=name), "scale", name, color) for name, color in COLORS.items()]
    for own, name, label, color in (*of_network, (row, "ideal_scale", "valid, by the ideal network", GREEN)):
        axis.fill_between(times, own[f"{name}_q25"], own[f"{name}_q75"], color=color, alpha=0.15, linewidth=0)
        axis.plot(times, own[name], "o-", color=color, markersize=3, linewidth=1.2, label=label)
    axis.plot(times, row["paper"], "x", color="black", markersize=5, label="published scales")
    axis.set_xlabel("time t (noise rises to the right)", fontsize=8)
    axis.set_ylabel("scale k (pixels)", fontsize=8)
    axis.set_ylim(bottom=0)


def _draw_agreement(axis: Axes, row: xr.Dataset) -> None:
    machines = row["machine"].values.tolist()
    for number, (boundary, color) in enumerate(COLORS.items()):
        own = row.sel(boundary=boundary)
        columns = {end: [*own[f"pearson_r_{end}"].values, float(own[f"ideal_pearson_r_{end}"])] for end in ENDS}
        median, low, high = (np.array(columns[end]) for end in ENDS)
        x = np.arange(len(median)) + 0.2 * (number - 0.5)
        axis.errorbar(x, median, yerr=[median - low, high - median], fmt="o", color=color, markersize=5)
    names = [*(f"network,\n{machine} scales" for machine in machines), "ideal network,\nscales of valid on it"]
    axis.axvline(len(machines) - 0.5, color=GREY, linewidth=0.8)
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.set_ylim(top=1)
    axis.set_ylabel("pearson_r: median, 95 % interval", fontsize=8)
