"""Pictures of a comparison: samples side by side, and how far theory and network agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.picture import draw_image, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_agreement", "draw_side_by_side"]

ORANGE, BLUE, GREY = "#d55e00", "#0072b2", "#7f7f7f"


def draw_side_by_side(runs: Sequence[tuple[str, xr.Dataset]], comparison: xr.Dataset, limit: int = 12) -> Figure:
    """Draw the final images of compared runs, one column a sample, with `pearson_r` above each image.

    Parameters
    ----------
    runs : sequence of (str, xarray.Dataset)
        Title and trajectory of the run, the reference and, where there is one, the baseline.
    comparison : xarray.Dataset
        What `compare` gave for them.
    limit : int
        Samples shown, the first ones.
    """
    first = runs[0][1]
    count = min(limit, first.sizes["sample"])
    roles = ["run", "reference", "baseline"][: len(runs)]
    figure, axes = grid(len(runs), count, 1.0, first.sizes["height"] / first.sizes["width"] * 1.15)
    for row, (name, run) in enumerate(runs):
        for column in range(count):
            draw_image(axes[row, column], run["image"].isel(sample=column), run)
            if roles[row] in _compared(comparison):
                r = float(comparison["pearson_r"].sel(compared=roles[row])[column])
                axes[row, column].set_title(f"r = {r:.2f}", fontsize=7, pad=2)
        axes[row, 0].set_ylabel(name, fontsize=8)
    total = first.sizes["sample"]
    shown = f", the first {count} of {total} samples" if count < total else ""
    title = f"final images from the same noise{shown};", "r: Pearson correlation with the reference"
    figure.suptitle((" " if count > 6 else "\n").join(title), fontsize=9 if count > 3 else 6)
    return figure


def _compared(comparison: xr.Dataset) -> list[str]:
    return comparison["compared"].values.tolist() if "pearson_r" in comparison else []


def draw_agreement(runs: Sequence[tuple[str, xr.Dataset]], comparison: xr.Dataset) -> Figure:
    """Draw pixel against pixel, run against reference, and the distribution of `pearson_r` over samples.

    Parameters
    ----------
    runs, comparison
        As for `draw_side_by_side`.
    """
    from matplotlib.figure import Figure

    (run_name, run), (reference_name, reference) = runs[:2]
    figure = Figure(figsize=(7.6, 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    low, high = json.loads(run.attrs["dataset_range"])
    span = (high - low) * 0.25
    bounds = (low - span, high + span)
    pixels = [one["image"].values.ravel() for one in (reference, run)]
    mesh = left.hist2d(*pixels, bins=60, range=(bounds, bounds), cmap="Greys", norm="log")[3]
    left.plot(bounds, bounds, color=ORANGE, linewidth=0.8)
    left.set_xlabel(f"pixel of {reference_name}")
    left.set_ylabel(f"pixel of {run_name}")
    left.set_aspect("equal")
    figure.colorbar(mesh, ax=left, label="pixels")
    _draw_correlations(right, [name for name, _ in runs], comparison)
    figure.suptitle(f"{run_name} against {reference_name}, {run.sizes['sample']} samples", fontsize=9)
    return figure


def _draw_correlations(axis: Any, names: list[str], comparison: xr.Dataset) -> None:
    """Scatter of the samples' r, run against baseline; without a baseline their histogram."""
    if "pearson_r" not in comparison:
        axis.set_axis_off()
        return
    axis.set_title(f"correlation with {names[1]}", fontsize=9)
    values, medians = comparison["pearson_r"].values, comparison["pearson_r_median"].values
    least = min([0.0, *values[~np.isnan(values)].tolist()])
    if len(values) == 1:
        axis.hist(values[0][~np.isnan(values[0])], bins=20, range=(least, 1), color=BLUE)
        axis.axvline(medians[0], color=ORANGE, label=f"median {medians[0]:.2f}")
        axis.set_xlabel(f"r of {names[0]}")
        axis.set_ylabel("samples")
    else:
        axis.plot([least, 1], [least, 1], color=GREY, linewidth=0.8)
        axis.scatter(values[1], values[0], s=12, color=BLUE, alpha=0.7, label="samples")
        axis.scatter(medians[1], medians[0], s=60, marker="+", color=ORANGE, label="medians")
        axis.set_xlabel(f"r of {names[2]} (median {medians[1]:.2f})")
        axis.set_ylabel(f"r of {names[0]} (median {medians[0]:.2f})")
        axis.set_aspect("equal")
    axis.legend(fontsize=7)
