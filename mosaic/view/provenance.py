"""The picture of a mosaic: its tiles, coloured by the training images they were copied from, and these beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.errors import UsageError
from mosaic.interfaces.dataset import DataSet
from mosaic.storage.requirements import check_samples, known_values, require, title_of
from mosaic.storage.schema import SAVED_WITH_IMAGE
from mosaic.storage.trajectory import check_training_set
from mosaic.view.colours import PALETTE, chosen_sources
from mosaic.view.images import class_of, draw_image, shown_image
from mosaic.view.mosaics import SOURCE_PLACE, check_places, sources_wrap, tiles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MOST_SAMPLES", "PROVENANCE_NEEDS", "draw_provenance", "edges_of"]

PROVENANCE_NEEDS = ("image", "label", *SAVED_WITH_IMAGE)

DARK, GREY = "#404040", "#9a9a9a"
MOSAIC, SOURCE = 2.4, 1.0  # inches of an image's longer side
FADED = (0.7, 0.3)  # grey levels of the image below the colours: the darkest, and how much brighter the brightest is
FILL = 0.65  # opacity of a tile's colour
COLUMNS = 3  # of sources
MOST_SAMPLES = 32
LEGEND = (
    "final images as mosaics\nThin lines: tiles, pieces copied whole. Colours: the training images that most pixels "
    "come from; beside, these with the pixels used, their names or numbers in the training set and their shares. "
    "Hatched: ties, where several sources are equal and the first is named."
)


def edges_of(tiles: NDArray[np.int64], of: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Give the borders of tiles (H, W): sides of pixels beyond which another tile is, or the outside.

    Parameters
    ----------
    tiles : array (H, W), integer
        As `tiles_of` gives them; pixels of -1 have no borders between them.
    of : array (H, W), bool, optional
        The pixels whose sides count; by default all.

    Returns
    -------
    array (n, 2, 2)
        Ends (x, y) of the sides, the first pixel's centre at (0, 0).
    """
    kept = np.ones(tiles.shape, bool) if of is None else of
    around = np.pad(tiles, 1, constant_values=-2)
    height, width = tiles.shape
    sides = []
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        beyond = around[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        rows, cols = np.nonzero(kept & (tiles != beyond))
        middle = np.stack([cols + right / 2, rows + down / 2], -1)
        along = np.array([abs(down), abs(right)]) / 2
        sides.append(np.stack([middle - along, middle + along], 1))
    return np.concatenate(sides)


def draw_provenance(run: xr.Dataset, samples: Sequence[int], dataset: DataSet) -> Figure:
    """Draw, for each sample, its final image, its tiles, and the training images that most pixels come from.

    Tiles have the colour of their training image. Beside them are these images, the pixels used outlined in that
    colour, with their place in the training set and the share of the sample's pixels. Pixels whose source has equals
    are hatched: which of these is named is a convention.

    Parameters
    ----------
    run : xarray.Dataset
        A trajectory that holds the provenance of its final images.
    samples : sequence of int
        Positions along `sample`, at most 32.
    dataset : DataSet
        The training set.

    Raises
    ------
    UsageError, DataError
        If a sample is not in the run, they are too many, the run holds no provenance, or `dataset` is not its training
        set.
    """
    from mosaic.view.figure import GAP, LINE, MARGIN, Picture, sides_of

    run = require(run, PROVENANCE_NEEDS)
    check_samples(run, samples)
    if len(samples) > MOST_SAMPLES:
        raise UsageError(f"{len(samples)} samples are chosen; at most {MOST_SAMPLES} are drawn in one picture.")
    check_training_set(run, dataset)
    large, small = (sides_of(dataset.shape[1:], side) for side in (MOSAIC, SOURCE))
    above = 14 * LINE  # of texts
    row = max(above + large[0], 2 * (above + small[0]) + GAP) + 2 * GAP
    columns = [MARGIN + n * (large[1] + GAP) for n in (0, 1)]
    columns += [columns[1] + large[1] + 3 * GAP + n * (small[1] + GAP) for n in range(COLUMNS)]
    width = columns[-1] + small[1] + MARGIN
    figure = Picture(width, len(samples) * row + GAP, f"{title_of(run)}: {LEGEND}", 8, is_laid_out=False)
    for number, sample in enumerate(samples):
        top = number * row
        beside = [(left, top + n * (above + small[0] + GAP) + above) for n in (0, 1) for left in columns[2:]]
        axes = [figure.place(left, top + above, large[1], large[0]) for left in columns[:2]]
        axes += [figure.place(*place, small[1], small[0]) for place in beside]
        _draw_sample(axes, run, int(sample), dataset)
    return figure


def _draw_sample(axes: Sequence[Axes], run: xr.Dataset, sample: int, dataset: DataSet) -> None:
    """Draw one sample: its image, its tiles, and up to six sources."""
    whole, mosaic, *beside = axes
    selected = run.isel(sample=[sample])
    names = (*SOURCE_PLACE, "multiplicity")
    image, row, column, multiplicity = (known_values(selected, name).values[0] for name in names)
    check_places(image, row, column, dataset.shape[1:], len(dataset))
    final, tied = known_values(selected, "image")[0], multiplicity > 1
    chosen = chosen_sources(image, multiplicity)
    tiles = tiles_of(np.where(tied, -1, image), row, column, sources_wrap(run))
    draw_image(whole, final, run)
    _entitle(whole, f"sample {sample}\n{class_of(run, int(known_values(selected, 'label').values[0]))}".strip())
    _draw_tiles(mosaic, shown_image(final, run), tiles, chosen)
    count = len(np.unique(tiles[tiles >= 0]))
    _entitle(mosaic, f"{count} tile{'s' * (count != 1)}\n{100 * tied.mean():.0f} % of pixels tied")
    training = dataset.images[[name for name, _ in chosen]].cpu().numpy()
    for axis, (name, used), picture, colour in zip(beside, chosen, training, PALETTE, strict=False):
        draw_image(axis, xr.DataArray(picture, dims=("channel", "height", "width")), run)
        taken = np.full(tiles.shape, -1)
        taken[row[used], column[used]] = 0
        _draw_edges(axis, edges_of(taken, taken == 0), colour, 1.2)
        _entitle(axis, f"{dataset.name_of(name)}\n{100 * used.mean():.1f} %", colour)
    for axis in axes:
        axis.set_axis_off()


def _entitle(axis: Axes, text: str, colour: str = "black") -> None:
    from mosaic.view.figure import fitted

    box = axis.get_window_extent()
    axis.set_title(fitted(text, box.width / axis.figure.dpi, 7, text.count("\n") + 1), fontsize=7, pad=3, color=colour)


def _draw_tiles(
    axis: Axes, image: NDArray[np.float64], tiles: NDArray[np.int64], chosen: list[tuple[int, NDArray[np.bool_]]]
) -> None:
    """Draw tiles over the faded image (H, W) or (H, W, 3), in [0, 1], with colours of the chosen sources."""
    from matplotlib.colors import to_rgb

    light = image if image.ndim == 2 else image @ np.array([0.299, 0.587, 0.114])
    pixels = np.repeat((FADED[0] + FADED[1] * light)[..., None], 3, -1)
    for (_, used), colour in zip(chosen, PALETTE, strict=False):
        pixels[used] = (1 - FILL) * pixels[used] + FILL * np.array(to_rgb(colour))
    axis.imshow(pixels, interpolation="nearest")
    _hatch(axis, tiles < 0)
    _draw_edges(axis, edges_of(tiles), DARK, min(0.6, 10 / max(tiles.shape)))


def _draw_edges(axis: Axes, edges: NDArray[np.float64], colour: str, width: float) -> None:
    from matplotlib.collections import LineCollection

    lines = LineCollection(list(edges), colors=colour, linewidths=width, capstyle="projecting", clip_on=False)
    axis.add_collection(lines)


def _hatch(axis: Axes, where: NDArray[np.bool_]) -> None:
    """Hatch pixels (H, W)."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    squares = np.argwhere(where)[:, None, ::-1] + corners
    if len(squares):
        path = Path.make_compound_path_from_polys(squares)
        axis.add_patch(PathPatch(path, facecolor="white", edgecolor=GREY, hatch="/////", linewidth=0))
