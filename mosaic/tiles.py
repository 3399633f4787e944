"""Tiles of a mosaic: connected pixels that were copied together from one training image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["tile_sizes", "tiles_of"]


def tiles_of(image: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the tiles of a mosaic: pixels connected by their sides whose sources lie side by side just as they do.

    Parameters
    ----------
    image, row, column : array (H, W), integer
        Source of each pixel; a negative image for a pixel that belongs to no tile.

    Returns
    -------
    array (H, W), int64
        Number of each pixel's tile, from 0 in the order of their first pixels; -1 for none.
    """
    height, width = image.shape
    down, right = row - np.arange(height)[:, None], column - np.arange(width)
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
