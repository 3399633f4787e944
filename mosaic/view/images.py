"""Pictures of images: the final ones, and the flows that lead there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.disk.atomic import replacing
from mosaic.errors import DataError
from mosaic.interfaces.html import brightness
from mosaic.storage.indexes import evenly_spread
from mosaic.storage.requirements import attribute_of, check_samples, known_values, require, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FLOW_NEEDS",
    "IMAGES_NEED",
    "class_of",
    "draw_flow",
    "draw_image",
    "draw_images",
    "save_figure",
    "shown_image",
    "write_figure",
]

FLOW_NEEDS = ("state", "denoised", "image", "time", "scale", "label")
IMAGES_NEED = ("image", "label")


def shown_image(image: xr.DataArray, run: xr.Dataset) -> NDArray[np.float64]:
    """Make an image (channel, height, width) what imshow takes: in [0, 1], clamped to the range of the run's data."""
    low, high = attribute_of(run, "dataset_range")
    array = brightness(image.values, low, high)
    return np.moveaxis(array, 0, -1) if array.shape[0] == 3 else array[0]


def draw_image(axis: Any, image: xr.DataArray, run: xr.Dataset) -> None:
    """Draw one image (channel, height, width) of a run, clamped to the range of its data."""
    axis.imshow(shown_image(image, run), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def draw_images(run: xr.Dataset, limit: int = 64) -> Figure:
    """Draw the final images of a run (the first `limit`) as a grid, labelled with their class where they have one."""
    from mosaic.view.figure import fitted, grid, sides_of

    run = require(run, IMAGES_NEED)
    total, run = run.sizes["sample"], run.isel(sample=slice(limit))
    images, labels = known_values(run, "image"), known_values(run, "label").values.tolist()
    count, names = images.sizes["sample"], [class_of(run, label) for label in labels]
    cols = min(count, 8)
    rows = -(-count // cols)
    title = title_of(run) + (f", the first {count} of {total} samples" if count < total else "")
    figure, axes = grid(rows, cols, images.shape[2:], title, above=8 if any(names) else 0)
    for i in range(count):
        axis = axes.flat[i]
        draw_image(axis, images.isel(sample=i), run)
        axis.set_title(fitted(names[i], sides_of(images.shape[2:])[1], 7), fontsize=7, pad=2)
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
    from mosaic.view.figure import fitted, grid, name_rows

    run = require(run, FLOW_NEEDS)
    check_samples(run, samples)
    steps = evenly_spread(run.sizes["step"], columns)
    shown = run.isel(sample=list(samples), step=steps)
    states, denoised, times, scales = (known_values(shown, name) for name in ("state", "denoised", "time", "scale"))
    classes = [class_of(run, label) for label in known_values(shown, "label").values.tolist()]
    size, above = (2 * len(samples), len(steps)), [16.0] + [0.0, 4.0] * len(samples)
    figure, axes = grid(*size, run["image"].shape[2:], title_of(run), above=above[:-1], left=0.9)
    for row in range(len(samples)):
        for col in range(len(steps)):
            draw_image(axes[2 * row, col], states[row, col], run)
            draw_image(axes[2 * row + 1, col], denoised[row, col], run)
            if row == 0:
                scale = f"\nk = {float(scales[col]):.3g}" if scales[col] else ""
                axes[0, col].set_title(f"t = {float(times[col]):.2f}{scale}", fontsize=7, pad=3)
    names = [fitted(f"sample {n} {name}".strip(), 0.8, 7, 2) for n, name in zip(samples, classes, strict=True)]
    name_rows(axes, [text for name in names for text in (f"{name}\n$x_t$", r"$\hat{x}_0$")])
    return figure


def save_figure(figure: Figure, path: Path, overwrite: bool = True) -> None:
    """Write a figure as PNG or PDF, atomically; arguments and errors as for `replacing`."""
    with replacing(path, overwrite) as temporary:
        write_figure(figure, temporary)


def write_figure(figure: Figure, temporary: Path) -> None:
    """Write a figure as PNG or PDF to a temporary path of `replacing`."""
    from mosaic.view.figure import printing

    with printing():
        figure.savefig(temporary, format=temporary.suffix.removeprefix(".").lower())
