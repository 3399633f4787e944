"""Arrays and images as text that a page holds: deflated bytes, and PNG pictures, in base64."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mosaic.interfaces.html import levels

__all__ = ["packed", "picture_of", "shares"]

TYPES = {
    "uint8": "Uint8Array",
    "uint16": "Uint16Array",
    "int16": "Int16Array",
    "int32": "Int32Array",
    "float32": "Float32Array",
}


def packed(array: NDArray[Any]) -> dict[str, str]:
    """An array's bytes, little-endian, deflated, in base64, and its type as JavaScript calls it."""
    data = zlib.compress(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return {"type": TYPES[str(array.dtype)], "data": base64.b64encode(data).decode()}


def shares(values: NDArray[Any]) -> dict[str, str]:
    """Numbers, clamped to [0, 1], as integers from 0 to 65,535, packed."""
    return packed((values.clip(0, 1) * 65535).round().astype(np.uint16))


def picture_of(image: NDArray[Any], low: float, high: float) -> str:
    """An image (C, H, W), clamped to [low, high], as the address of an embedded PNG.

    In colour if it has three channels, else the first one in grey.
    """
    buffer = io.BytesIO()
    Image.fromarray(levels(image, low, high)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
