"""Pictures of stored runs: grids of images as PNG, by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.disk.atomic import replacing
from mosaic.errors import DataError
from mosaic.storage.requirements import attribute_of, check_samples, known_values, require, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["class_of", "draw_flow", "draw_image", "draw_images", "grid", "save_figure", "write_figure"]


def _shown(image: xr.DataArray, low: float, high: float) -> Any:
    """Make an image (channel, height, width) in [low, high] what imshow takes, clamped to [0, 1]."""
    array = np.clip((image.values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.moveaxis(array, 0, -1) if array.shape[0] == 3 else array[0]


def grid(rows: int, cols: int, cell: float, aspect: float) -> tuple[Figure, Any]:
    """Make a figure of rows x cols bare axes, each `cell` inches wide and `aspect` times as high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(cols * cell, rows * cell * aspect + 0.4), dpi=100, layout="compressed")
    axes = figure.subplots(rows, cols, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
    return figure, axes


def draw_image(axis: Any, image: xr.DataArray, run: xr.Dataset) -> None:
    """Draw one image (channel, height, width) of a run, clamped to the range of its data."""
    low, high = attribute_of(run, "dataset_range")
    axis.imshow(_shown(image, low, high), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def draw_images(run: xr.Dataset, limit: int = 64) -> Figure:
    """Draw the final images of a run (the first `limit`) as a grid, labelled with their class where they have one."""
    run = require(run, ("image", "label")).isel(sample=slice(limit))
    images, labels = known_values(run, "image"), known_values(run, "label").values.tolist()
    count = images.sizes["sample"]
    cols = min(count, 8)
    rows = -(-count // cols)
    figure, axes = grid(rows, cols, 1.2, images.sizes["height"] / images.sizes["width"])
    for i in range(count):
        axis = axes.flat[i]
        draw_image(axis, images.isel(sample=i), run)
        axis.set_title(class_of(run, labels[i]), fontsize=7, pad=2)
    figure.suptitle(title_of(run), fontsize=9)
    return figure


def class_of(run: xr.Dataset, label: int) -> str:
    """Name of a class of the run's training set, empty for -1, none.

    Raises
    ------
    DataError
        If the training set has no such class.
    """
    if label < 0:
        return ""
    classes = attribute_of(run, "dataset_classes")
    if label >= len(classes):
        raise DataError(f"The run has a sample of class {label}; its training set has {len(classes)} classes.")
    return str(classes[label])


def draw_flow(run: xr.Dataset, samples: Sequence[int], columns: int = 10) -> Figure:
    """Draw the reverse flow of chosen samples: states above, denoised images below, from noise to data.

    Parameters
    ----------
    run : xarray.Dataset
        A trajectory.
    samples : sequence of int
        Positions along `sample`.
    columns : int
        Steps shown, evenly spaced, first and last included.

    Raises
    ------
    UsageError
        If a sample is not in the run.
    DataError
        If the run does not hold what is drawn.
    """
    run = require(run, ("state", "denoised", "time", "scale", "label"))
    check_samples(run, samples)
    total = run.sizes["step"]
    steps = np.unique(np.linspace(0, total - 1, min(columns, total)).round().astype(int))
    shown = run.isel(sample=list(samples), step=steps)
    states, denoised, times, scales = (known_values(shown, name) for name in ("state", "denoised", "time", "scale"))
    classes = [class_of(run, label) for label in known_values(shown, "label").values.tolist()]
    figure, axes = grid(2 * len(samples), len(steps), 0.95, run.sizes["height"] / run.sizes["width"])
    for row, sample in enumerate(samples):
        for col in range(len(steps)):
            draw_image(axes[2 * row, col], states[row, col], run)
            draw_image(axes[2 * row + 1, col], denoised[row, col], run)
            if row == 0:
                scale = f"\nk = {int(scales[col])}" if int(scales[col]) else ""
                axes[0, col].set_title(f"t = {float(times[col]):.2f}{scale}", fontsize=7, pad=3)
        axes[2 * row, 0].set_ylabel(f"sample {sample} {classes[row]}\n$x_t$", fontsize=7)
        axes[2 * row + 1, 0].set_ylabel(r"$\hat{x}_0$", fontsize=7)
    figure.suptitle(title_of(run), fontsize=9)
    return figure


def save_figure(figure: Figure, path: Path, overwrite: bool = True) -> None:
    """Write a figure as PNG or PDF, atomically; arguments and errors as for `replacing`."""
    with replacing(path, overwrite) as temporary:
        write_figure(figure, temporary)


def write_figure(figure: Figure, temporary: Path) -> None:
    """Write a figure as PNG or PDF to a temporary path of `replacing`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)  # it prints letters of names as they are
        figure.savefig(temporary, format=temporary.suffix.removeprefix(".").lower())
