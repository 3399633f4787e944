"""Pictures of a comparison: samples side by side, and how far theory and network agree."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.storage.requirements import attribute_of
from mosaic.view.colours import BLUE, GREY, ORANGE
from mosaic.view.images import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COMPARISON_NEEDS", "draw_agreement", "draw_side_by_side"]

COMPARISON_NEEDS = ("image", "role")


def draw_side_by_side(comparison: xr.Dataset, names: Mapping[str, str] | None = None, limit: int = 12) -> Figure:
    """Draw the final images of compared runs, one column a sample, with the first metric above each image.

    Parameters
    ----------
    comparison : xarray.Dataset
        What `compare` gave.
    names : mapping, optional
        What the runs are called, by their roles; by default as `compare` called them.
    limit : int
        Samples shown, the first ones.
    """
    from mosaic.view.figure import fitted, grid, name_rows

    names, metric = names or _names(comparison), _first_metric(comparison)
    images, total = comparison["image"].isel(sample=slice(limit)), comparison.sizes["sample"]
    count = images.sizes["sample"]
    shown = f", the first {count} of {total} samples" if count < total else ""
    title = f"final images from the same noise{shown}"
    title = title if metric is None else f"{title}; above them {metric} with the reference"
    figure, axes = grid(len(names), count, images.shape[3:], title, above=8, left=1.1)
    for row, role in enumerate(names):
        for column in range(count):
            draw_image(axes[row, column], images.sel(role=role)[column], comparison)
            if metric is not None and role in comparison["compared"].values:
                value = float(comparison[metric].sel(compared=role)[column])
                axes[row, column].set_title(f"{value:.2f}", fontsize=7, pad=2)
    name_rows(axes, [fitted(name, 1.0, 8, 3) for name in names.values()], 8)
    return figure


def _names(comparison: xr.Dataset) -> dict[str, str]:
    """What each role is called; its role, where the comparison does not say."""
    runs = attribute_of(comparison, "runs", "comparison")
    return {role: str(runs.get(role, {}).get("name") or role) for role in comparison["role"].values.tolist()}


def _first_metric(comparison: xr.Dataset) -> str | None:
    """Name of the first metric that compares; None where there is none."""
    compared = (str(name) for name, values in comparison.items() if values.dims == ("compared", "sample"))
    return next(compared, None)


def draw_agreement(comparison: xr.Dataset, names: Mapping[str, str] | None = None) -> Figure:
    """Draw pixel against pixel, run against reference, and the distribution of the first metric over samples.

    Parameters
    ----------
    comparison, names
        As for `draw_side_by_side`.
    """
    from matplotlib.ticker import NullFormatter

    from mosaic.view.figure import Picture, fitted

    names = names or _names(comparison)
    samples = comparison.sizes["sample"]
    title = f"{names['run']} against {names['reference']}, {samples} sample{'s' * (samples > 1)}"
    figure = Picture(7.6, 3.6, title)
    left, right = figure.subplots(1, 2)
    low, high = attribute_of(comparison, "dataset_range")
    span = (high - low) * 0.25
    bounds = (low - span, high + span)
    pixels = [comparison["image"].sel(role=role).values.ravel() for role in ("reference", "run")]
    mesh = left.hist2d(*pixels, bins=60, range=(bounds, bounds), cmap="Greys", norm="log")[3]
    left.plot(bounds, bounds, color=ORANGE, linewidth=0.8)
    left.set_xlabel(fitted(f"pixel of {names['reference']}", 2.4, 9, 2), fontsize=9)
    left.set_ylabel(fitted(f"pixel of {names['run']}", 2.4, 9, 2), fontsize=9)
    left.set_aspect("equal")
    bar = figure.colorbar(mesh, cax=left.inset_axes((1.04, 0, 0.05, 1)), label="pixels")
    bar.ax.yaxis.set_major_formatter("{x:.0f}")
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    _draw_metric(right, names, comparison)
    return figure


def _draw_metric(axis: Any, names: Mapping[str, str], comparison: xr.Dataset) -> None:
    """Scatter of the samples' first metric, run against baseline; without a baseline its histogram."""
    from mosaic.view.figure import count_along, fitted

    metric = _first_metric(comparison)
    if metric is None:
        axis.set_axis_off()
        return
    axis.set_title(fitted(f"{metric} with {names['reference']}", 2.6, 9, 2), fontsize=9)
    values, centres = comparison[metric].values, _centres(comparison, metric)
    known = values[np.isfinite(values)]
    # The axes of correlations show at least 0 to 1; values outside extend them.
    bounds = (min([0.0, *known.tolist()]), max([1.0, *known.tolist()]))
    if len(values) == 1:
        axis.hist(known, bins=20, range=bounds, color=BLUE)
        axis.axvline(centres[0], color=ORANGE, label=f"median {centres[0]:.2f}")
        axis.set_xlabel(fitted(f"{metric} of {names['run']}", 2.6, 9, 2), fontsize=9)
        axis.set_ylabel("samples")
        count_along(axis.yaxis)
    else:
        axis.plot(bounds, bounds, color=GREY, linewidth=0.8)
        axis.scatter(values[1], values[0], s=12, color=BLUE, alpha=0.7, label="samples")
        axis.scatter(centres[1], centres[0], s=60, marker="+", color=ORANGE, label="medians")
        axis.set_xlabel(fitted(f"{metric} of {names['baseline']} (median {centres[1]:.2f})", 2.6, 9, 2), fontsize=9)
        axis.set_ylabel(fitted(f"{metric} of {names['run']} (median {centres[0]:.2f})", 2.6, 9, 2), fontsize=9)
        axis.set_aspect("equal")
    axis.legend(fontsize=7)


def _centres(comparison: xr.Dataset, metric: str) -> Any:
    """Medians over samples, of the run and the baseline; NaN where there are no values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(comparison[metric].values, axis=1)
