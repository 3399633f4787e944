"""The picture of the attention experiment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.picture import draw_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["draw_attention"]

SHOWN = 8
NEW, COPIED = "#009e73", "#9fd9c6"
BROKEN = ("#d55e00", "#bbbbbb", "#666666")
ROW, MAP = 0.5, 0.9  # inches


def draw_attention(found: xr.Dataset) -> Figure:
    """Draw samples of every maker with what they were judged, and what two pixels attend to over time.

    Parameters
    ----------
    found : xarray.Dataset
        What `AttentionTable.measure` gave.
    """
    from matplotlib.figure import Figure

    makers, mapped = found.sizes["maker"], found.sizes["attends"] * found.sizes["pixel"]
    heights = (ROW * makers + 0.6, MAP * mapped + 0.3)
    figure = Figure(figsize=(9.6, sum(heights)), dpi=110, layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    left, right = above.subfigures(1, 2, squeeze=False, width_ratios=(1.2, 1))[0]
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
    axis, beside = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    verdicts, copied = found["verdict"].values, found["copy"].values
    consistent, *broken = json.loads(found["verdict"].attrs["verdicts"])
    bars = [(f"{consistent}, new", (verdicts == 0) & ~copied, NEW), ("copied", (verdicts == 0) & copied, COPIED)]
    bars += [(name, verdicts == 1 + n, color) for n, (name, color) in enumerate(zip(broken, BROKEN, strict=True))]
    places, left = np.arange(found.sizes["maker"]), np.zeros(found.sizes["maker"])
    for name, found_so, color in bars:
        axis.barh(places, found_so.mean(1), left=left, color=color, label=name, height=0.7)
        left = left + found_so.mean(1)
    share, low, high = (found[f"consistency_{end}"].values for end in ("share", "low", "high"))
    axis.errorbar(share, places, xerr=np.stack([share - low, high - share]), fmt="none", ecolor="black", linewidth=1)
    axis.set_yticks(places, found["maker"].values.tolist(), fontsize=6)
    axis.set_ylim(len(places) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xlabel(
        f"share of {found.sizes['sample']} samples, 95 % interval of consistent;\n"
        "right: median pearson_r with each network",
        fontsize=7,
    )
    figure.legend(loc="outside upper center", ncols=2, fontsize=7)
    _write_likeness(beside, found)


def _write_likeness(axis: Axes, found: xr.Dataset) -> None:
    """Write each theory's median pearson_r with each network beside its bar."""
    networks, makers = found["network"].values.tolist(), found["maker"].values.tolist()
    axis.set_axis_off()
    axis.set_xlim(-0.5, len(networks) - 0.5)
    for column, network in enumerate(networks):
        # The networks' own rows, the first ones, are free for the headings.
        axis.text(column, len(networks) - 0.6, network, rotation=90, ha="center", va="bottom", fontsize=6)
        for theory in found["theory"].values.tolist():
            value = float(found["pearson_r_median"].sel(theory=theory, network=network))
            axis.text(column, makers.index(theory), f"{value:.2f}", fontsize=6, ha="center", va="center")


def _draw_maps(figure: SubFigure, found: xr.Dataset) -> None:
    moments = np.linspace(0, found.sizes["moment"] - 1, 8).round().astype(int)
    rows = [(one, pixel) for one in range(found.sizes["attends"]) for pixel in range(found.sizes["pixel"])]
    axes = figure.subplots(len(rows), len(moments), squeeze=False)
    for row, (one, pixel) in enumerate(rows):
        for column, moment in enumerate(moments.tolist()):
            axis, seen = axes[row, column], found.isel(attends=one, pixel=pixel, moment=moment)
            alpha = seen["alpha"].values
            axis.imshow(alpha / alpha.max(), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"t = {float(seen['moment_time']):.2f}, to {alpha.max():.2g}", fontsize=6, pad=2)
        name = found["attends"].values[one].replace(" ", "\n")
        axes[row, 0].set_ylabel(f"{name}\n{found['pixel'].values[pixel]}", fontsize=6)
    figure.suptitle(
        "what two pixels of sample 0 attend to, each scaled to its largest weight, which is told", fontsize=8
    )
