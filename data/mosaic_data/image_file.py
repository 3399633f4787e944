"""Image files: what one holds, and its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import mosaic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["decode", "inspect"]

Mode = Literal["L", "RGB"]


def inspect(path: Path) -> tuple[Mode, tuple[int, int]]:
    """Give an image's kind ("L": grey, "RGB": any other) and its (width, height), without decoding it.

    Raises
    ------
    DataError
        If the file is not an image, or has more than 8 bits a channel.
    """
    with _opened(path) as image:
        if image.mode == "F" or image.mode.startswith("I"):
            raise mosaic.DataError(
                f"Image '{path}' has pixels of mode {image.mode}; save it with 8 bits a channel, "
                "or put the pixels into a .npz file, as floats or uint16, and use the data set 'file'."
            )
        return ("L" if image.mode in ("1", "L", "LA") else "RGB"), image.size


def decode(path: Path, mode: Mode) -> NDArray[np.uint8]:
    """Decode an image: uint8, (height, width) for "L" and (height, width, 3) for "RGB".

    Raises
    ------
    DataError
        If the file is missing, damaged or not an image, or has transparent pixels.
    """
    import numpy as np

    with _opened(path) as image:
        # PIL warns when it drops a palette's transparency in one step.
        full = image.convert("RGBA") if "transparency" in image.info else image
        if "A" in full.getbands() and np.asarray(full.getchannel("A")).min() < 255:
            raise mosaic.DataError(f"Image '{path}' has transparent pixels; put it on a background first.")
        return np.array(full.convert(mode))


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except mosaic.DataError:
        raise
    except Exception as error:  # PIL's decoders raise errors of many kinds for a damaged file
        raise mosaic.DataError(
            f"Image '{path}' cannot be read ({type(error).__name__}: {error}); repair it or take it out."
        ) from error
