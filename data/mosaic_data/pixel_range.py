"""Which pixel values are black and white, and whether the pixels fit that."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

import mosaic

__all__ = ["PixelRange", "dark_note"]

KNOWN = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "bool": (0.0, 1.0)}


class PixelRange:
    """The values that become -1 and 1, and the least and the greatest value seen.

    Parameters
    ----------
    dtype : dtype
        Of the pixels.
    bounds : (float, float), optional
        The setting `range`; by default what the type suggests.
    path : Path
        Named in errors.

    Raises
    ------
    DataError
        If pixels are no numbers, or integers of a type that suggests no range, without one.
    """

    def __init__(self, dtype: np.dtype[Any], bounds: tuple[float, float] | None, path: Path) -> None:
        if dtype.name not in KNOWN and dtype.kind not in "iuf":
            raise mosaic.DataError(f"'{path}': images must be integers or floats, not {dtype}; convert them first.")
        if dtype.name not in KNOWN and dtype.kind != "f" and bounds is None:
            raise mosaic.DataError(
                f"'{path}': images of {dtype} do not say which values are black and white; say it with "
                "`dataset.range=LOW,HIGH`, such as `dataset.range=0,255`."
            )
        self._path, self._dtype, self._is_assumed = path, dtype, bounds is None
        self.low, self.high = bounds or KNOWN.get(dtype.name, (-1.0, 1.0))
        self._least, self._most = math.inf, -math.inf

    def see(self, least: float, most: float) -> None:
        """Note the least and the greatest of some pixels; NaN if one of them is."""
        # Unlike min and max of Python, these pass NaN on.
        self._least, self._most = float(np.minimum(self._least, least)), float(np.maximum(self._most, most))

    def check(self, read: int, count: int) -> list[str]:
        """Refuse pixels outside the range, and note if they hardly use it; call it at the end.

        `read` of the file's `count` images were read.

        Raises
        ------
        DataError
            If a pixel is outside. NaN and infinity are the data set's to refuse.
        """
        least, most, low, high = self._least, self._most, self.low, self.high
        slack = 1e-4 * (high - low) / 2
        if math.isfinite(most - least) and (least < low - slack or most > high + slack):
            raise mosaic.DataError(
                f"'{self._path}': pixel values span [{least:g}, {most:g}], outside [{low:g}, {high:g}]; "
                "say which values are black and white with `dataset.range=LOW,HIGH`."
            )
        if not self._is_assumed or self._dtype.kind != "u":
            return []
        return dark_note(int(most), int(high), f"say so: `dataset.range=0,{max(1, int(most))}`", read, count)


def dark_note(most: int, high: int, fix: str, read: int, count: int) -> list[str]:
    """Give a note if the brightest pixel, `most`, is in the lowest quarter of what is taken for white, `high`.

    It says that it is the brightest of the `read` images, if there are more of them: others may be brighter.
    """
    if 4 * most >= high:
        return []
    images = "all images" if read == count else f"the {read} images that were chosen from {count}"
    white = max(1, most)
    return [f"No pixel of {images} is above {most}, while {high} is taken for white. If {white} is meant to be, {fix}."]
