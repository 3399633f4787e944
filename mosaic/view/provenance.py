"""Pictures of what runs are made of: tiles by source image, entropy over time, counts of sources, scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.interfaces.dataset import DataSet
from mosaic.storage.requirements import check_samples, known_values, require
from mosaic.storage.trajectory import check_training_set
from mosaic.view.accessor import MosaicAccessor
from mosaic.view.colours import PALETTE, tile_colours
from mosaic.view.images import draw_image, grid
from mosaic.view.mosaics import check_places

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_entropy", "draw_provenance", "draw_sources"]

GREY = "#b0b0b0"
BLUE = PALETTE[0]


def draw_provenance(run: xr.Dataset, samples: Sequence[int], dataset: DataSet) -> Figure:
    """Draw, for each sample, its final image, its tiles by source image, and the sources, their pixels used marked.

    Parameters
    ----------
    run : xarray.Dataset
        A trajectory that holds the provenance of its final images.
    samples : sequence of int
        Positions along `sample`.
    dataset : DataSet
        The training set.

    Raises
    ------
    UsageError, DataError
        If a sample is not in the run, the run holds no provenance, or `dataset` is not its training set.
    """
    run = require(run, ("image",))
    check_samples(run, samples)
    check_training_set(run, dataset)
    source, training = MosaicAccessor(run).provenance(), dataset.images.cpu().numpy()
    image, row_in_it, column_in_it = (source[f"source_{name}"].values for name in ("image", "row", "column"))
    check_places(image, row_in_it, column_in_it, training.shape[2:], len(training))
    finals = known_values(run, "image")
    figure, axes = grid(len(samples), 2 + len(PALETTE), 1.1, run.sizes["height"] / run.sizes["width"] * 1.1)
    for row, sample in enumerate(samples):
        sources = source.isel(sample=sample)
        colours, chosen = tile_colours(sources["source_image"].values, sources["multiplicity"].values)
        draw_image(axes[row, 0], finals[sample], run)
        axes[row, 0].set_ylabel(f"sample {sample}", fontsize=7)
        axes[row, 1].imshow(colours, interpolation="nearest")
        for place, name in enumerate(chosen):
            picture = xr.DataArray(training[name], dims=("channel", "height", "width"))
            _draw_source(axes[row, 2 + place], picture, run, sources, name, PALETTE[place])
    axes[0, 0].set_title("final image", fontsize=7)
    axes[0, 1].set_title("sources", fontsize=7)
    figure.suptitle(
        "Pixels coloured by the training image they come from; pale: one not shown; white: the source has equals",
        fontsize=8,
    )
    return figure


def _draw_source(axis: Any, picture: xr.DataArray, run: xr.Dataset, source: xr.Dataset, name: int, colour: str) -> None:
    """Draw a training image in a frame, with a dot on each pixel that the sample took from it."""
    draw_image(axis, picture, run)
    used = (source["source_image"].values == name) & (source["multiplicity"].values <= 1)
    rows, cols = source["source_row"].values[used], source["source_column"].values[used]
    axis.plot(cols, rows, "s", color=colour, markersize=1.6, markeredgewidth=0)
    axis.set_frame_on(True)
    for side in axis.spines.values():
        side.set_color(colour)
        side.set_linewidth(2)
    axis.set_title(f"image {name}\npixels: {int(used.sum())}", fontsize=6, pad=2)


def draw_entropy(run: xr.Dataset, samples: Sequence[int], columns: int = 8) -> Figure:
    """Draw the effective number of candidates: pixel by pixel at some steps, and its course over time.

    Raises
    ------
    UsageError, DataError
        If a sample is not in the run, or the run does not hold `entropy` or `n_eff` of all steps.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    run = require(run, ("time",))
    check_samples(run, samples)
    n_eff, times = effective_candidates(run.isel(sample=list(samples))), known_values(run, "time").values
    steps = np.unique(np.linspace(0, run.sizes["step"] - 1, columns).round().astype(int))
    figure = Figure(figsize=(8.4, 1.1 * len(samples) + 3.0), dpi=110, layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.1 * len(samples) + 0.4, 2.6))[:, 0]
    axes = above.subplots(len(samples), len(steps), squeeze=False)
    norm = LogNorm(1, max(2.0, float(n_eff.max())))
    for row, sample in enumerate(samples):
        for column, step in enumerate(steps.tolist()):
            axis = axes[row, column]
            mesh = axis.imshow(n_eff.isel(sample=row, step=step), cmap="viridis", norm=norm, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(f"t = {times[step]:.2f}", fontsize=7, pad=3)
        axes[row, 0].set_ylabel(f"sample {sample}", fontsize=7)
    above.colorbar(mesh, ax=axes, label="n_eff")
    axis = below.subplots()
    quartiles = n_eff.quantile([0.25, 0.5, 0.75], dim=["sample", "height", "width"]).values
    axis.fill_between(times, quartiles[0], quartiles[2], color=BLUE, alpha=0.25, linewidth=0, label="quartiles")
    axis.plot(times, quartiles[1], "o-", color=BLUE, markersize=3, label="median of the pixels")
    axis.set_yscale("log")
    axis.set_xlabel("time t (noise rises to the right)")
    axis.set_ylabel("n_eff")
    axis.legend(fontsize=7)
    figure.suptitle("Effective number of candidates, exp of the posterior's entropy", fontsize=9)
    return figure


def effective_candidates(run: xr.Dataset) -> xr.DataArray:
    """n_eff (sample, step, height, width) of a run, from what it holds.

    Raises
    ------
    DataError
        If it does not hold it at all steps.
    """
    if "n_eff" in run:
        return known_values(run, "n_eff")
    entropy = known_values(run, "entropy")
    return entropy.copy(data=np.exp(entropy.values))


def draw_sources(run: xr.Dataset) -> Figure:
    """Draw, for each sample, how many training images it is made of, and how large its tiles are.

    Raises
    ------
    DataError
        If the run holds no provenance.
    """
    from matplotlib.figure import Figure

    counts = MosaicAccessor(run).sources()
    figure = Figure(figsize=(8.4, 3.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    places = np.arange(counts.sizes["sample"])
    for which, colour, shift in (("all", GREY, -0.2), ("untied", BLUE, 0.2)):
        counted = counts.sel(pixels=which)
        share = float(counted["pixel_share"].mean())
        label = "all pixels" if which == "all" else f"pixels without equals ({100 * share:.0f} %)"
        left.bar(places + shift, counted["images"], 0.4, color=colour, label=label)
        sizes = np.sort(counted["tile_size"].values[counted["tile_size"].values > 0])
        if len(sizes):
            covered = 1 - np.concatenate([[0], np.cumsum(sizes)[:-1]]) / sizes.sum()
            right.step(sizes, covered, where="pre", color=colour, linewidth=2)
    left.set_xlabel("sample")
    left.set_ylabel("training images it is made of")
    left.set_ylim(bottom=0)
    right.set_xscale("log")
    right.set_xlabel("pixels of a tile")
    right.set_ylabel("share of pixels in\ntiles at least as large")
    right.set_ylim(0, 1.02)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle("What final images are made of: source images, and tiles copied whole", fontsize=9)
    return figure
