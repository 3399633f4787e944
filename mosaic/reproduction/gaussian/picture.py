"""The picture of `gaussian`: agreement over time, correlation over the share skipped, and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.reproduction.study.rows import THEORIES, row_named
from mosaic.view.colours import BLUE, GREEN, ORANGE
from mosaic.view.images import draw_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from mosaic.view.figure import Picture

__all__ = ["draw_gaussian"]

COLOURS = {"gaussian": ORANGE, "is": GREEN, "els": BLUE}
NAMES = {"gaussian": "Gaussian", **THEORIES}
DRAWN = (0.0, 0.15, 0.3, 0.5, 0.8, 1.0)  # shares of the images


def draw_gaussian(measured: xr.Dataset) -> Picture:
    """Draw a band a row: eps and x0hat over time, r over share and over EDM's steps, and images by share."""
    from mosaic.view.figure import Picture

    rows = measured["row"].values.tolist()
    figure = Picture(16, 3.6 * len(rows), "A theory first, then the network; curves: medians over samples, bands: 95 %")
    bands = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for band, name in zip(bands, rows, strict=True):
        row = measured.sel(row=name)
        left, right = band.subfigures(1, 2, width_ratios=(2.6, 1))
        _draw_curves(left, row, row_named(name).title)
        _draw_strip(right, row, measured.attrs["dataset_range"])
    return figure


def _draw_curves(figure: SubFigure, row: xr.Dataset, title: str) -> None:
    cosine, error, plain, edm = figure.subplots(1, 4)
    for theory in row["theory"].values.tolist():
        own = row.sel(theory=theory)
        _curve(cosine, own["time"], own, "eps_cosine", theory, is_distance=True)
        _curve(error, own["time"], own, "denoised_error", theory)
    for first in row["first"].values.tolist():
        _curve(plain, row["share"], row.sel(first=first), "pearson_r", first)
    _curve(edm, row["skipped"], row, "edm_pearson_r", "gaussian")
    for axis, x, y in (
        (cosine, "time t", "1 - cosine of eps"),
        (error, "time t", "relative error of x0hat"),
        (plain, "share of the times skipped", "r with the network's image"),
        (edm, "EDM's steps skipped, of 18", "r with the network's image"),
    ):
        axis.set_xlabel(x, fontsize=8)
        axis.set_ylabel(y, fontsize=8)
        axis.tick_params(which="both", labelsize=7)
        axis.grid(color="#dddddd")
    for axis in (cosine, error):
        axis.set_yscale("log")
        axis.invert_xaxis()  # as the flow goes
    plain.axvspan(0.15, 0.3, color="#eeeeee", zorder=0)
    edm.axvspan(3, 5, color="#eeeeee", zorder=0)
    cosine.set_title(title, fontsize=9)
    plain.set_title("grey: the claim", fontsize=8)
    cosine.legend(fontsize=7)
    plain.legend(fontsize=7)


def _curve(axis: Axes, x: xr.DataArray, own: xr.Dataset, name: str, theory: str, is_distance: bool = False) -> None:
    median, low, high = (own[f"{name}_{end}"].values for end in ("median", "low", "high"))
    if is_distance:
        median, low, high = 1 - median, 1 - high, 1 - low
    axis.plot(x, median, "o-", markersize=2.5, linewidth=1.2, color=COLOURS[theory], label=NAMES[theory])
    axis.fill_between(x, low, high, color=COLOURS[theory], alpha=0.25, linewidth=0)


def _draw_strip(figure: SubFigure, row: xr.Dataset, data_range: str) -> None:
    """Draw the shown samples that the Gaussian began, a line each, and a column for each of `DRAWN`."""
    images = row["image"].sel(first="gaussian", share=list(DRAWN))
    for side in ("channel", "height", "width"):  # of other rows' images
        images = images.dropna(side, how="all")
    shown = images.sizes["shown"]
    figure.suptitle("images, by the share that the Gaussian takes", fontsize=8)
    axes: Any = figure.subplots(shown, len(DRAWN), squeeze=False)
    for line, column in np.ndindex(shown, len(DRAWN)):
        axis = axes[line, column]
        axis.set_axis_off()
        draw_image(axis, images.isel(shown=line, share=column), xr.Dataset(attrs={"dataset_range": data_range}))
        if line == 0:
            axis.set_title(f"{DRAWN[column]:.0%}", fontsize=7, pad=2)
