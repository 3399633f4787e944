"""What mosaics are made of: source images, and tiles, connected pixels that were copied together from one of them."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mosaic.errors import DataError
from mosaic.interfaces.dataset import DataSet
from mosaic.storage.indexes import places_of
from mosaic.storage.requirements import as_run, attribute_of, known_values, setting_of

__all__ = [
    "CANDIDATE_PLACE",
    "SOURCE_PLACE",
    "check_places",
    "collapse_times",
    "count_sources",
    "pixels_of_candidates",
    "sources_of",
    "sources_wrap",
    "tile_sizes",
    "tiles_of",
]

SOURCE_PLACE = ("source_image", "source_row", "source_column")
CANDIDATE_PLACE = ("candidate_image", "candidate_row", "candidate_column")

SOURCES = {
    "pixel_share": "share of the image's pixels",
    "images": "training images that these pixels come from",
    "largest_share": "share of these pixels that come from the image most come from",
    "largest_tile": "pixels of the largest tile",
    "tile_size": "pixels of each tile, the largest first",
}


def check_places(
    image: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64], shape: tuple[int, int], images: float
) -> None:
    """Refuse sources (...) that are in none of `images` training images of this `shape`, height and width.

    Raises
    ------
    DataError
        With the first of them.
    """
    bad = (image >= images) | (row >= shape[0]) | (column >= shape[1])
    if bad.any():
        place = tuple(int(axis[bad][0]) for axis in (image, row, column))
        raise DataError(
            f"The run names sources beyond {shape[0]} rows and {shape[1]} columns of its training images, the first at "
            f"(image, row, column) {place}: rows or columns were selected from it, or its values changed; use the "
            "run as it was stored."
        )


def tiles_of(
    image: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64], wraps: bool = False
) -> NDArray[np.int64]:
    """Number the tiles of a mosaic: pixels connected by their sides whose sources are neighbours in the same way.

    Parameters
    ----------
    image, row, column : array (H, W), integer
        Source of each pixel; a negative image for a pixel that belongs to no tile.
    wraps : bool
        Whether sources continue at the other border, as those of machines do whose windows wrap.

    Returns
    -------
    array (H, W), int64
        Number of each pixel's tile, from 0 in the order of their first pixels; -1 for none.
    """
    height, width = image.shape
    # Two neighbours belong together if both come from one image, moved by the same distance.
    down, right = row - np.arange(height)[:, None], column - np.arange(width)
    if wraps:
        down, right = down % height, right % width
    key, numbers = np.stack([image, down, right]), np.arange(height * width).reshape(height, width)
    beside = [(numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])]
    first, second = (np.concatenate([pair[end].ravel() for pair in beside]) for end in (0, 1))
    joined = (key.reshape(3, -1)[:, first] == key.reshape(3, -1)[:, second]).all(0) & (image.ravel()[first] >= 0)
    links = coo_array((joined[joined], (first[joined], second[joined])), shape=(height * width, height * width))
    _, parts = connected_components(links, directed=False)
    parts = np.where(image >= 0, parts.reshape(height, width), -1)
    # Number the parts in the order of their first pixels.
    _, firsts, inverse = np.unique(parts, return_index=True, return_inverse=True)
    order = firsts[inverse].reshape(height, width)
    _, tiles = np.unique(np.where(image >= 0, order, -1), return_inverse=True)
    return tiles.reshape(height, width) - int((image < 0).any())


def tile_sizes(tiles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of each tile, the largest first; `tiles` as `tiles_of` gives them."""
    sizes: NDArray[np.int64] = np.sort(np.bincount(tiles[tiles >= 0].ravel()))[::-1]
    return sizes


def sources_wrap(run: xr.Dataset) -> bool:
    """Whether tiles of a run may continue at the other border, as windows do; older files do not hold the traits."""
    traits = attribute_of(run, "traits") if "traits" in run.attrs else {}
    return bool(traits.get("is_equivariant")) or setting_of(run, "score_options").get("boundary") == "circular"


def sources_of(run: xr.Dataset) -> xr.Dataset:
    """Count what a run's final images are made of, as `run.mosaic.sources` describes it.

    Raises
    ------
    DataError
        If the run holds no provenance, or not all of it.
    """
    run, wraps = as_run(run), sources_wrap(run)
    source = run.assign({name: known_values(run, name) for name in (*SOURCE_PLACE, "multiplicity")})
    image, row, column = (source[name].values for name in SOURCE_PLACE)
    check_places(image, row, column, image.shape[1:], np.inf)
    return count_sources(source, wraps)


def count_sources(source: xr.Dataset, wraps: bool = False) -> xr.Dataset:
    """Count what final images are made of, of all pixels and of those whose source has no equals.

    Parameters
    ----------
    source : xarray.Dataset
        `source_image`, `source_row`, `source_column` and `multiplicity` (sample, height, width).
    wraps : bool
        As for `tiles_of`.

    Returns
    -------
    xarray.Dataset
        As `run.mosaic.sources` describes it.
    """
    image, row, column = (
        source[name].values.astype(np.int64) for name in ("source_image", "source_row", "source_column")
    )
    untied = source["multiplicity"].values <= 1  # 0: not counted
    keep = {"all": np.ones_like(untied), "untied": untied}
    kept, samples = list(keep.values()), range(len(untied))
    tiles = [[_tiles(image[n], row[n], column[n], pixels[n], wraps) for n in samples] for pixels in kept]
    counts = [[np.unique(image[n][pixels[n]], return_counts=True)[1] for n in samples] for pixels in kept]
    longest = max(len(sizes) for of_samples in tiles for sizes in of_samples)
    sizes = np.array([[np.pad(tile, (0, longest - len(tile))) for tile in of_samples] for of_samples in tiles])
    statistics = {
        "pixel_share": np.array([pixels.mean((1, 2)) for pixels in kept]),
        "images": np.array([[len(count) for count in of_samples] for of_samples in counts]),
        "largest_share": np.array([[_largest_share(count) for count in of_samples] for of_samples in counts]),
        "largest_tile": sizes[..., 0],
        "tile_size": sizes,
    }
    dims = ("pixels", "sample", "rank")
    variables = {
        name: (dims[: values.ndim], values, {"long_name": SOURCES[name], "units": "1"})
        for name, values in statistics.items()
    }
    return xr.Dataset(variables, {"pixels": list(keep), "sample": source["sample"]})


def _largest_share(counts: NDArray[np.int64]) -> float:
    return float(counts.max() / counts.sum()) if len(counts) else np.nan


def _tiles(
    image: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    keep: NDArray[np.bool_],
    wraps: bool,
) -> NDArray[np.int64]:
    """Sizes of the tiles among the pixels (H, W) to keep, the largest first; at least one, which may be 0."""
    sizes = tile_sizes(tiles_of(np.where(keep, image, -1), row, column, wraps))
    return sizes if len(sizes) else np.zeros(1, np.int64)


def pixels_of_candidates(step: xr.Dataset, dataset: DataSet) -> xr.DataArray:
    """Copy the pixels (channel, height, width) of the best candidates, of a single sample and step, from `dataset`.

    Raises
    ------
    DataError
        If the candidates are not known, or in none of its images.
    """
    image, row, column = (known_values(step, name).values[0, 0].astype(np.int64) for name in CANDIDATE_PLACE)
    check_places(image, row, column, dataset.shape[1:], len(dataset))
    number, down, across = (torch.from_numpy(each).to(dataset.images.device) for each in (image, row, column))
    pixels = np.moveaxis(dataset.images[number, :, down, across].cpu().numpy(), -1, 0)
    attrs = {"long_name": "pixels of the best candidates", "units": "1"}
    return xr.DataArray(pixels, places_of(step), ("channel", "height", "width"), "mosaic", attrs)


TAKEN_OVER = 0.5


def collapse_times(saved: xr.Dataset) -> xr.DataArray:
    """Time t of the first step from which on the last step's best candidate has over half of the weight, else NaN.

    Parameters
    ----------
    saved : xarray.Dataset
        The variables `candidate_*` (sample, step, height, width) of all steps, and `time` (step).

    Returns
    -------
    xarray.DataArray (sample, height, width)
        As `run.mosaic.collapse_time` describes it.
    """
    multiplicity = saved["candidate_multiplicity"].clip(min=1)
    same = xr.concat([saved[name] == saved[name].isel(step=-1) for name in CANDIDATE_PLACE], "place").all("place")
    # Equal candidates count as one, with their joint weight. The one that is named depends on rounding, so a candidate
    # with equals counts as the same if the last one has equals, too.
    named = same | ((multiplicity > 1) & (multiplicity.isel(step=-1) > 1))
    taken = ((saved["candidate_weight"] * multiplicity > TAKEN_OVER) & named).transpose("step", ...).values
    lasting = np.logical_and.accumulate(taken[::-1])[::-1]
    times = np.where(lasting, saved["time"].values[:, None, None, None], -np.inf).max(0)
    attrs = {"long_name": "time from which on the last candidate has over half of the weight", "units": "1"}
    dims = ("sample", "height", "width")
    coords = {"sample": saved["sample"], **places_of(saved)}
    return xr.DataArray(np.where(np.isfinite(times), times, np.nan), coords, dims, attrs=attrs)
