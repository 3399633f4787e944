"""What mosaics are made of: source images, and tiles, connected pixels that were copied together from one of them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["count_sources", "tile_sizes", "tiles_of"]

SOURCES = {
    "pixel_share": "share of the image's pixels",
    "images": "training images that these pixels come from",
    "largest_share": "share of these pixels that come from the image most come from",
    "largest_tile": "pixels of the largest tile",
    "tile_size": "pixels of each tile, the largest first",
}


def tiles_of(
    image: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64], wraps: bool = False
) -> NDArray[np.int64]:
    """Number the tiles of a mosaic: pixels connected by their sides whose sources lie side by side just as they do.

    Parameters
    ----------
    image, row, column : array (H, W), integer
        Source of each pixel; a negative image for a pixel that belongs to no tile.
    wraps : bool
        Whether sources go on at the other border, as those of machines do whose windows wrap.

    Returns
    -------
    array (H, W), int64
        Number of each pixel's tile, from 0 in the order of their first pixels; -1 for none.
    """
    height, width = image.shape
    down, right = row - np.arange(height)[:, None], column - np.arange(width)
    if wraps:
        down, right = down % height, right % width
    key = np.stack([image, down, right])
    numbers = np.where(image >= 0, np.arange(height * width).reshape(height, width), -1)
    beside = [
        (joined & (image[first] >= 0), first, second)
        for first, second in (
            ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
            ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        )
        for joined in [(key[:, *first] == key[:, *second]).all(0)]
    ]
    while True:  # the least number of each tile spreads over it
        before = numbers.copy()
        for joined, first, second in beside:
            least = np.where(joined, np.minimum(numbers[first], numbers[second]), -1)
            numbers[first] = np.where(joined, least, numbers[first])
            numbers[second] = np.where(joined, np.minimum(least, numbers[second]), numbers[second])
        if np.array_equal(before, numbers):
            break
    _, found = np.unique(numbers, return_inverse=True)
    return found.reshape(height, width) - int((numbers < 0).any())


def tile_sizes(tiles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of each tile, the largest first; `tiles` as `tiles_of` gives them."""
    sizes: NDArray[np.int64] = np.sort(np.bincount(tiles[tiles >= 0].ravel()))[::-1]
    return sizes


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
    which = range(len(untied))
    tiles = [[_tiles(image[n], row[n], column[n], kept[n], wraps) for n in which] for kept in keep.values()]
    counts = [[np.unique(image[n][kept[n]], return_counts=True)[1] for n in which] for kept in keep.values()]
    longest = max(len(one) for some in tiles for one in some)
    sizes = np.array([[np.pad(one, (0, longest - len(one))) for one in some] for some in tiles])
    found = {
        "pixel_share": np.array([kept.mean((1, 2)) for kept in keep.values()]),
        "images": np.array([[len(one) for one in row] for row in counts]),
        "largest_share": np.array([[one.max() / one.sum() if len(one) else np.nan for one in row] for row in counts]),
        "largest_tile": sizes[..., 0],
        "tile_size": sizes,
    }
    dims = ("pixels", "sample", "rank")
    variables = {
        name: (dims[: values.ndim], values, {"long_name": SOURCES[name], "units": "1"})
        for name, values in found.items()
    }
    return xr.Dataset(variables, {"pixels": list(keep), "sample": source["sample"]})


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
