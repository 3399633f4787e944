"""The picture of the attention experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.picture import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["draw_attention"]

SHOWN = 8
COLORS = ("#009e73", "#d55e00", "#bbbbbb", "#666666")


def draw_attention(found: xr.Dataset) -> Figure:
    """Draw samples of every maker with what they were judged, and what two pixels attend to over time.

    Parameters
    ----------
    found : xarray.Dataset
        What `AttentionTable.measure` gave.
    """
    from matplotlib.figure import Figure

    count = found.sizes["maker"]
    figure = Figure(figsize=(8.4, 0.62 * count + 3.2), dpi=110, layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(0.62 * count, 2.6))[:, 0]
    left, right = above.subfigures(1, 2, squeeze=False, width_ratios=(1.45, 1))[0]
    _draw_samples(left, found)
    _draw_verdicts(right, found)
    _draw_maps(below, found)
    return figure


def _draw_samples(figure: SubFigure, found: xr.Dataset) -> None:
    columns = min(SHOWN, found.sizes["sample"])
    axes = figure.subplots(found.sizes["maker"], columns, squeeze=False)
    for row, maker in enumerate(found["maker"].values.tolist()):
        for column in range(columns):
            axes[row, column].set_axis_off()
            draw_image(axes[row, column], found["image"].isel(maker=row, sample=column), found)
        axes[row, 0].text(-0.2, 0.5, maker, transform=axes[row, 0].transAxes, ha="right", va="center", fontsize=7)
    figure.suptitle("the same noise", fontsize=8)


def _draw_verdicts(figure: SubFigure, found: xr.Dataset) -> None:
    axis = figure.subplots()
    verdicts = found["verdict"].attrs["verdicts"].split(", ")
    places, left = np.arange(found.sizes["maker"]), np.zeros(found.sizes["maker"])
    for index, (name, color) in enumerate(zip(verdicts, COLORS, strict=True)):
        shares = (found["verdict"].values == index).mean(1)
        axis.barh(places, shares, left=left, color=color, label=name, height=0.7)
        left = left + shares
    share, low, high = (found[f"consistency_{end}"].values for end in ("share", "low", "high"))
    axis.errorbar(share, places, xerr=np.stack([share - low, high - share]), fmt="none", ecolor="black", linewidth=1)
    axis.set_yticks([])
    axis.set_ylim(len(places) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xlabel(f"share of {found.sizes['sample']} samples, 95 % interval of consistent", fontsize=7)
    figure.legend(loc="outside upper center", ncols=2, fontsize=7)


def _draw_maps(figure: SubFigure, found: xr.Dataset) -> None:
    steps = np.linspace(0, found.sizes["time"] - 1, 8).round().astype(int)
    pixels = found["pixel"].values.tolist()
    axes = figure.subplots(len(pixels), len(steps), squeeze=False)
    for row, pixel in enumerate(pixels):
        for column, step in enumerate(steps.tolist()):
            axis, alpha = axes[row, column], found["alpha"].isel(time=step, pixel=row).values
            axis.imshow(alpha / alpha.max(), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"t = {float(found['time'][step]):.2f}", fontsize=7, pad=2)
        axes[row, 0].set_ylabel(pixel, fontsize=7)
    figure.suptitle("what two pixels of sample 0 attend to (compose softmax), each scaled to its largest", fontsize=8)
