"""Pictures of a comparison: samples side by side, and how far theory and network agree."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.storage.requirements import attribute_of, known_values, require
from mosaic.view.images import draw_image, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_agreement", "draw_side_by_side"]

ORANGE, BLUE, GREY = "#d55e00", "#0072b2", "#7f7f7f"


def draw_side_by_side(runs: Sequence[tuple[str, xr.Dataset]], comparison: xr.Dataset, limit: int = 12) -> Figure:
    """Draw the final images of compared runs, one column a sample, with the first metric above each image.

    Parameters
    ----------
    runs : sequence of (str, xarray.Dataset)
        Title and trajectory of the run, the reference and, where there is one, the baseline.
    comparison : xarray.Dataset
        What `compare` gave for them.
    limit : int
        Samples shown, the first ones.
    """
    runs = [(name, require(run, ("image",))) for name, run in runs]
    first, metric = runs[0][1], _first_metric(comparison)
    count = min(limit, first.sizes["sample"])
    roles = ["run", "reference", "baseline"][: len(runs)]
    figure, axes = grid(len(runs), count, 1.0, first.sizes["height"] / first.sizes["width"] * 1.15)
    for row, (name, run) in enumerate(runs):
        images = known_values(run.isel(sample=slice(count)), "image")
        for column in range(count):
            draw_image(axes[row, column], images[column], run)
            if metric is not None and roles[row] in comparison["compared"].values:
                value = float(comparison[metric].sel(compared=roles[row])[column])
                axes[row, column].set_title(f"{value:.2f}", fontsize=7, pad=2)
        axes[row, 0].set_ylabel(name, fontsize=8)
    total = first.sizes["sample"]
    shown = f", the first {count} of {total} samples" if count < total else ""
    title = [f"final images from the same noise{shown}"]
    if metric is not None:
        title = [f"{title[0]};", f"above them {metric} with the reference"]
    figure.suptitle((" " if count > 6 else "\n").join(title), fontsize=9 if count > 3 else 6)
    return figure


def _first_metric(comparison: xr.Dataset) -> str | None:
    """Name of the first metric that compares; None where there is none."""
    compared = (str(name) for name, values in comparison.items() if values.dims == ("compared", "sample"))
    return next(compared, None)


def draw_agreement(runs: Sequence[tuple[str, xr.Dataset]], comparison: xr.Dataset) -> Figure:
    """Draw pixel against pixel, run against reference, and the distribution of the first metric over samples.

    Parameters
    ----------
    runs, comparison
        As for `draw_side_by_side`.
    """
    from matplotlib.figure import Figure

    (run_name, run), (reference_name, reference) = runs[:2]
    figure = Figure(figsize=(7.6, 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    low, high = attribute_of(run, "dataset_range")
    span = (high - low) * 0.25
    bounds = (low - span, high + span)
    pixels = [known_values(each, "image").values.ravel() for each in (reference, run)]
    mesh = left.hist2d(*pixels, bins=60, range=(bounds, bounds), cmap="Greys", norm="log")[3]
    left.plot(bounds, bounds, color=ORANGE, linewidth=0.8)
    left.set_xlabel(f"pixel of {reference_name}")
    left.set_ylabel(f"pixel of {run_name}")
    left.set_aspect("equal")
    figure.colorbar(mesh, ax=left, label="pixels")
    _draw_metric(right, [name for name, _ in runs], comparison)
    figure.suptitle(f"{run_name} against {reference_name}, {comparison.sizes['sample']} samples", fontsize=9)
    return figure


def _draw_metric(axis: Any, names: list[str], comparison: xr.Dataset) -> None:
    """Scatter of the samples' first metric, run against baseline; without a baseline its histogram."""
    metric = _first_metric(comparison)
    if metric is None:
        axis.set_axis_off()
        return
    axis.set_title(f"{metric} with {names[1]}", fontsize=9)
    values, centres = comparison[metric].values, _centres(comparison, metric)
    known = values[np.isfinite(values)]
    # The axes of correlations show at least 0 to 1; values outside extend them.
    bounds = (min([0.0, *known.tolist()]), max([1.0, *known.tolist()]))
    if len(values) == 1:
        axis.hist(known, bins=20, range=bounds, color=BLUE)
        axis.axvline(centres[0], color=ORANGE, label=f"median {centres[0]:.2f}")
        axis.set_xlabel(f"{metric} of {names[0]}")
        axis.set_ylabel("samples")
    else:
        axis.plot(bounds, bounds, color=GREY, linewidth=0.8)
        axis.scatter(values[1], values[0], s=12, color=BLUE, alpha=0.7, label="samples")
        axis.scatter(centres[1], centres[0], s=60, marker="+", color=ORANGE, label="medians")
        axis.set_xlabel(f"{metric} of {names[2]} (median {centres[1]:.2f})")
        axis.set_ylabel(f"{metric} of {names[0]} (median {centres[0]:.2f})")
        axis.set_aspect("equal")
    axis.legend(fontsize=7)


def _centres(comparison: xr.Dataset, metric: str) -> Any:
    """Medians over samples, of the run and the baseline; NaN where there are no values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(comparison[metric].values, axis=1)
