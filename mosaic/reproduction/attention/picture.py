"""The picture of the attention experiment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.storage.indexes import evenly_spread
from mosaic.view.colours import GREEN, ORANGE
from mosaic.view.images import draw_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["draw_attention"]

SHOWN = 8
NEW, COPIED = GREEN, "#9fd9c6"
BROKEN = (ORANGE, "#bbbbbb", "#666666")
ROW, MAP = (0.8, 0.35), (1.2, 0.9)  # inches of a row of square images, and what it has at least for its texts


def draw_attention(measured: xr.Dataset) -> Figure:
    """Draw samples of every maker's first training, what all were judged, and what two pixels attend to over time.

    Parameters
    ----------
    measured : xarray.Dataset
        What `AttentionTable.measure` gave.
    """
    from mosaic.view.figure import Picture

    makers, mapped = measured.sizes["maker"], measured.sizes["attends"] * measured.sizes["pixel"]
    low = min(1.0, measured.sizes["height"] / measured.sizes["width"])
    row, seen = (max(square * low, least) for square, least in (ROW, MAP))
    heights = (row * makers + 0.9, seen * mapped + 0.3)
    figure = Picture(12.8, sum(heights))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    left, right = above.subfigures(1, 2, squeeze=False, width_ratios=(1.2, 1))[0]
    _draw_samples(left, measured)
    _draw_verdicts(right, measured)
    _draw_maps(below, measured)
    return figure


def _draw_samples(figure: SubFigure, measured: xr.Dataset) -> None:
    columns = min(SHOWN, measured.sizes["sample"])
    axes = figure.subplots(measured.sizes["maker"], columns, squeeze=False)
    for row, maker in enumerate(measured["maker"].values.tolist()):
        for column in range(columns):
            axes[row, column].set_axis_off()
            draw_image(axes[row, column], measured["image"].isel(maker=row, training=0, sample=column), measured)
        axes[row, 0].text(-0.2, 0.5, maker, transform=axes[row, 0].transAxes, ha="right", va="center", fontsize=7)
    figure.suptitle("the same noise; of networks the first training", fontsize=8)


def _draw_verdicts(figure: SubFigure, measured: xr.Dataset) -> None:
    axis, beside = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    verdicts, copied, has_training = measured["verdict"].values, measured["copy"].values, _has_training(measured)
    consistent, *broken = json.loads(measured["verdict"].attrs["verdicts"])
    bars = [(f"{consistent}, new", (verdicts == 0) & ~copied, NEW), ("copied", (verdicts == 0) & copied, COPIED)]
    bars += [(name, verdicts == 1 + n, color) for n, (name, color) in enumerate(zip(broken, BROKEN, strict=True))]
    places, left = np.arange(measured.sizes["maker"]), np.zeros(measured.sizes["maker"])
    for name, matching, color in bars:
        width = matching.mean(2).sum(1) / has_training.sum(1)  # of trainings that there are not, the verdict is -1
        axis.barh(places, width, left=left, color=color, label=name, height=0.7)
        left = left + width
    share, low, high = (measured[f"consistency_{end}"].values for end in ("share", "low", "high"))
    axis.errorbar(share, places, xerr=np.stack([share - low, high - share]), fmt="none", ecolor="black", linewidth=1)
    several = np.nonzero(has_training & (has_training.sum(1, keepdims=True) > 1))
    dots = (verdicts == 0).mean(2)[several]
    axis.plot(
        dots,
        places[several[0]],
        "o",
        color="white",
        markeredgecolor="black",
        markersize=3,
        label="each training",
        clip_on=False,
    )
    axis.set_yticks(places, measured["maker"].values.tolist(), fontsize=6)
    axis.set_ylim(len(places) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xlabel(
        f"share of {measured.sizes['sample']} samples of each training, 95 % interval of consistent;\n"
        "right: median pearson_r with each network",
        fontsize=7,
    )
    figure.legend(loc="outside upper center", ncols=3, fontsize=7)
    _write_likeness(beside, measured)


def _has_training(measured: xr.Dataset) -> np.ndarray:
    """Whether a maker has a training: (maker, training)."""
    return np.arange(measured.sizes["training"]) < measured["trainings"].values[:, None]


def _write_likeness(axis: Axes, measured: xr.Dataset) -> None:
    """Write each theory's median pearson_r with each network beside its bar."""
    networks, makers = measured["network"].values.tolist(), measured["maker"].values.tolist()
    axis.set_axis_off()
    axis.set_xlim(-0.5, len(networks) - 0.5)
    for column, network in enumerate(networks):
        # The first rows are the networks themselves, which have no value here: room for the headings.
        axis.text(column, len(networks) - 0.6, network, rotation=90, ha="center", va="bottom", fontsize=6)
        for theory in measured["theory"].values.tolist():
            value = float(measured["pearson_r_median"].sel(theory=theory, network=network))
            axis.text(column, makers.index(theory), f"{value:.2f}", fontsize=6, ha="center", va="center")


def _draw_maps(figure: SubFigure, measured: xr.Dataset) -> None:
    moments = evenly_spread(measured.sizes["moment"], 8)
    rows = [
        (attends, pixel) for attends in range(measured.sizes["attends"]) for pixel in range(measured.sizes["pixel"])
    ]
    axes = figure.subplots(len(rows), len(moments), squeeze=False)
    for row, (attends, pixel) in enumerate(rows):
        for column, moment in enumerate(moments.tolist()):
            axis, seen = axes[row, column], measured.isel(attends=attends, pixel=pixel, moment=moment)
            alpha = seen["alpha"].values
            axis.imshow(alpha / alpha.max(), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"t = {float(seen['moment_time']):.2f}, to {alpha.max():.2g}", fontsize=6, pad=2)
        name = measured["attends"].values[attends].replace(" ", "\n")
        axes[row, 0].set_ylabel(f"{name}\n{measured['pixel'].values[pixel]}", fontsize=6)
    figure.suptitle(
        "what two pixels of sample 0 attend to, each scaled to its largest weight, written above it", fontsize=8
    )
