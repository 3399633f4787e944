"""The picture of `training`: agreement, and errors of equivariance, against passes and against images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.training.networks import ALL, IMAGES, PASSES, POINTS
from mosaic.reproduction.training.row import THEORIES
from mosaic.view.colours import BLUE, GREEN, GREY, ORANGE, PALETTE, SKY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_training"]

COLORS = {"els-own-scales": SKY, "els": BLUE, "ls": GREEN, "is": ORANGE, "gaussian": GREY}
SERIES = {PASSES: "epochs", IMAGES: "images"}
AXES = {PASSES: "passes over the row's images", IMAGES: "images, at as many training steps"}


def draw_training(measured: xr.Dataset) -> Figure:
    """Draw two lines of panels for each row: pearson_r, then errors of equivariance; against passes, and images.

    Dotted lines are what LS and IS reach with ELS itself, on the same images.
    """
    from mosaic.view.figure import Picture

    rows = measured["row"].values.tolist()
    figure = Picture(8.6, 5.6 * len(rows))
    axes = figure.subplots(2 * len(rows), 2, squeeze=False, sharey="row")
    for number, name in enumerate(rows):
        for column, series in enumerate(SERIES):
            names = [point.name for point in POINTS if point.series == series or point == ALL]
            own = measured.sel(row=name, network=names)
            above, below = axes[2 * number : 2 * number + 2, column]
            x = own[SERIES[series]].values.astype(float)
            ticks = np.unique(x)
            _draw_agreement(above, own, x)
            _draw_errors(below, own, x)
            for axis in (above, below):
                axis.set_xscale("log")
                axis.set_xticks(ticks, [f"{value:g}" for value in ticks])
                axis.minorticks_off()
            above.set_title(row_named(name).title, fontsize=9)
            below.set_xlabel(AXES[series], fontsize=8)
        axes[2 * number, 0].set_ylabel("pearson_r with the network:\nmedian, 95 % interval", fontsize=8)
        axes[2 * number + 1, 0].set_ylabel("equivariance error of eps, interior:\nmean, 95 % interval", fontsize=8)
    for axis in axes.ravel():
        axis.tick_params(labelsize=7)
        axis.grid(axis="y", color="#dddddd")
    for line in (0, 1):
        axes[line, 1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def _draw_agreement(axis: Axes, own: xr.Dataset, x: np.ndarray) -> None:
    for theory, color in COLORS.items():
        each = own.sel(theory=theory)
        _draw_line(axis, x, each, "pearson_r", "median", color, THEORIES[theory])
        if theory in ("ls", "is"):
            axis.plot(
                x,
                each["pearson_r_with_els_median"],
                ":",
                color=color,
                linewidth=1,
                label=f"{THEORIES[theory]} with ELS",
            )


def _draw_errors(axis: Axes, own: xr.Dataset, x: np.ndarray) -> None:
    for color, t in zip(PALETTE, own["time"].values.tolist(), strict=False):
        each = own.sel(time=t)
        _draw_line(axis, x, each, "equivariance_error_interior", "mean", color, f"t = {t:.2f}")
    axis.set_ylim(bottom=0)


def _draw_line(axis: Axes, x: np.ndarray, each: xr.Dataset, name: str, middle: str, color: str, label: str) -> None:
    value, low, high = (each[f"{name}_{end}"].values for end in (middle, "low", "high"))
    spread = np.stack([value - low, high - value]).clip(0)
    axis.errorbar(x, value, yerr=spread, fmt="o-", color=color, markersize=3, linewidth=1.2, label=label)
