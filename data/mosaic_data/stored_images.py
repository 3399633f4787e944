"""Images of an array in a file, in any order of its axes, read in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import mosaic
from mosaic_data.stored_array import Array, Indices, StoredArray

__all__ = ["StoredImages", "decoded"]


class StoredImages(mosaic.ImageSource):
    """The images of a stored array.

    Parameters
    ----------
    stored : StoredArray
        Any array of three or four axes.
    layout : str
        A letter for each axis, such as NHWC.
    range : (float, float)
        Stored values that become -1 and 1.
    path : Path
        Of the file, which must not change.
    """

    def __init__(self, stored: StoredArray, layout: str, range: tuple[float, float], path: Path) -> None:
        lengths = dict(zip(layout, stored.shape, strict=True))
        shape = (lengths["N"], lengths.get("C", 1), lengths["H"], lengths["W"])
        super().__init__(shape, stored.dtype.newbyteorder("="), range)
        self._array, self._axis = stored, layout.index("N")
        order = "N" + layout.replace("N", "")
        self._axes = [order.index(axis) for axis in "NCHW" if axis in order]
        self._path, self._state, identity = path, mosaic.file_state(path), mosaic.file_identity(path)
        self._identity = None if identity is None else f"{identity} {layout} {range} {stored.dtype} {stored.shape}"

    @property
    def identity(self) -> str | None:
        """That of the file, and how it is read."""
        return self._identity

    def read(self, first: int, last: int) -> Array:
        """Read a block of an array that is read anywhere.

        Raises
        ------
        DataError
            If the file is not there any more, or has changed since it was opened.
        """
        try:
            if mosaic.file_state(self._path) != self._state:
                raise mosaic.DataError(f"'{self._path}' has changed since it was opened; start again.")
        except OSError as error:
            raise mosaic.DataError(f"'{self._path}' cannot be read ({error.strerror}).") from None
        return self._arranged(self._array.entries(first, last, self._axis))

    def rows(self, chosen: Indices) -> Iterator[Array]:
        """Read images at rising places, in order, a piece at a time: (n, C, H, W), as stored."""
        return map(self._arranged, self._array.rows(chosen, self._axis))

    def _arranged(self, entries: Array) -> Array:
        images = entries.astype(self.stored, copy=False).transpose(self._axes)
        return images.reshape(len(entries), *self.shape[1:])


def decoded(source: StoredImages, path: Path) -> mosaic.ImageSource:
    """Give images that are stored in order only, such as compressed ones, from a file in the cache folder."""
    key = {"what": "images of a file 1", "file": mosaic.file_state(path), "shape": source.shape}

    def decode() -> mosaic.Decoded:
        return mosaic.Decoded(source.shape, source.stored, source.rows(np.arange(len(source))))

    images, _ = mosaic.cached_images(key, decode, source.range)
    return images
