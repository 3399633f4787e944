"""The picture of `transition`: copies and agreement over the number of images, images, and effective candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.reproduction.study.experiment import NETWORK
from mosaic.reproduction.transition.makers import FIXED, MAKERS
from mosaic.view.colours import BLUE, GREEN, ORANGE, PINK, SKY
from mosaic.view.images import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

    from mosaic.view.figure import Picture

__all__ = ["draw_transition"]

COLOURS = {NETWORK: "black", "is": GREEN, "ls": PINK, "els": BLUE, FIXED: SKY, "gaussian": ORANGE}
SHOWN = (NETWORK, "els", "is")
CURVES = (
    ("copy", "share", "share of copies"),
    ("halves_r", "median", "r of the two halves"),
    ("pearson_r", "median", "r with the half's network"),
)


def draw_transition(measured: xr.Dataset) -> Picture:
    """Draw three panels over the number of images, a line of images for each number, and a map for each."""
    from mosaic.view.figure import Picture

    counts = measured["count"].values.tolist()
    columns = len(SHOWN) * measured.sizes["shown"] * measured.sizes["half"]
    heights = (3.0, 0.75 * len(counts) + 0.5, 2.6)
    title = (
        f"{measured.attrs['title_of_row']} and theories on two disjoint halves of N images, from the same noise; "
        "curves: medians and shares with 95 % intervals"
    )
    figure = Picture(max(11.0, 0.75 * columns + 1), sum(heights), title)
    bands: Any = figure.subfigures(3, 1, height_ratios=heights)
    for band, draw in zip(bands, (_draw_curves, _draw_images, _draw_maps), strict=True):
        draw(band, measured)
    return figure


def _draw_curves(figure: SubFigure, measured: xr.Dataset) -> None:
    counts = measured["count"].values
    axes: Any = figure.subplots(1, len(CURVES))
    for axis, (name, end, label) in zip(axes, CURVES, strict=True):
        for maker in measured["maker"].values.tolist():
            if (name, maker) == ("pearson_r", NETWORK):
                continue
            own = measured.sel(maker=maker)
            median, low, high = (own[f"{name}_{each}"].values for each in (end, "low", "high"))
            axis.semilogx(counts, median, "o-", markersize=3, color=COLOURS[maker], label=MAKERS[maker])
            axis.fill_between(counts, low, high, color=COLOURS[maker], alpha=0.15, linewidth=0)
        axis.set_xlabel("images N of each half", fontsize=8)
        axis.set_ylabel(label, fontsize=8)
        axis.tick_params(which="both", labelsize=7)
        axis.grid(color="#dddddd")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)


def _draw_images(figure: SubFigure, measured: xr.Dataset) -> None:
    """Draw, for each number of images, the first samples of `SHOWN`, those of the two halves beside each other."""
    counts, samples, halves = (measured[dim].values.tolist() for dim in ("count", "shown", "half"))
    columns = [(maker, sample, half) for maker in SHOWN for sample in samples for half in halves]
    axes: Any = figure.subplots(len(counts), len(columns), squeeze=False)
    for line, count in enumerate(counts):
        for column, (maker, sample, half) in enumerate(columns):
            axis = axes[line, column]
            axis.set_xticks([])
            axis.set_yticks([])
            draw_image(axis, measured["image"].sel(count=count, maker=maker, half=half).isel(shown=sample), measured)
            if line == 0:
                axis.set_title(f"{MAKERS[maker]} {half}", fontsize=6, pad=2)
        axes[line, 0].set_ylabel(f"N = {count}", fontsize=7, rotation=0, ha="right", va="center")


def _draw_maps(figure: SubFigure, measured: xr.Dataset) -> None:
    """Draw log10 of the effective candidates over time and scale, at all numbers of images by the same colours."""
    counts, windows, times = (measured[dim].values.tolist() for dim in ("count", "k", "time"))
    logs = np.log10(measured["n_eff_pixel_median"].transpose("count", "k", "time").values.clip(1))
    axes: Any = figure.subplots(1, len(counts), squeeze=False, sharey=True)
    for axis, count, values in zip(axes[0], counts, logs, strict=True):
        shown = axis.imshow(values, vmin=0, vmax=max(logs.max(), 1e-9), cmap="viridis", origin="lower", aspect="auto")
        axis.set_xticks(range(len(times))[::2], [f"{time:g}" for time in times[::2]], fontsize=7)
        axis.set_yticks(range(len(windows)), map(str, windows), fontsize=7)
        axis.set_xlabel("time t", fontsize=8)
        axis.set_title(f"N = {count}", fontsize=8)
    axes[0, 0].set_ylabel("scale k", fontsize=8)
    bar = figure.colorbar(shown, ax=axes[0].tolist())
    bar.ax.tick_params(labelsize=7)
    bar.set_label("log10 n_eff of ELS", fontsize=8)
