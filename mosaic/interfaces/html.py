"""What objects show in a notebook: small tables and pictures, in which all text is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mosaic.progress import printable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["brightness", "escaped", "levels", "picture", "pictures", "table"]

LARGEST = 64  # pixels of the longer side of an image

STYLE = "text-align: left; vertical-align: top"


def table(title: str, rows: Mapping[str, object]) -> str:
    """Write a table of names and values in HTML, below a title; everything is text, and is escaped.

    Parameters
    ----------
    title : str
        What the table describes.
    rows : mapping
        A value for each name, shown as `str` does. Line breaks of a value stay; rows of the value None are left out.
    """
    lines = [
        f'<tr><th style="{STYLE}">{escaped(name)}</th>'
        f'<td style="{STYLE}">{"<br>".join(map(escaped, str(value).split(chr(10))))}</td></tr>'
        for name, value in rows.items()
        if value is not None
    ]
    return f"<div><strong>{escaped(title)}</strong><table>{''.join(lines)}</table></div>"


def brightness(pixels: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """How bright pixels are drawn, in [0, 1]: 0 up to `low`, 1 from `high` on."""
    bright: NDArray[np.float64] = ((pixels.astype(np.float64) - low) / (high - low)).clip(0, 1)
    return bright


def levels(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Levels from 0 to 255 of an image (C, H, W): (H, W, 3) if it has three channels, else (H, W) of the first."""
    shown = np.moveaxis(image, 0, -1) if len(image) == 3 else image[0]
    return (brightness(shown, low, high) * 255).round().astype(np.uint8)


def picture(png: bytes, description: str) -> str:
    """Put a PNG file into HTML, described for those who do not see it; pixels stay squares where it is enlarged."""
    data, style = base64.b64encode(png).decode("ascii"), "min-height: 48px; image-rendering: pixelated"
    return f'<img src="data:image/png;base64,{data}" alt="{escaped(description)}" style="{style}">'


def pictures(images: Tensor, low: float, high: float, description: str) -> str:
    """Draw images (N, C, H, W) side by side, low as black and high as white; RGB if they have three channels.

    Large images are drawn small.
    """
    from PIL import Image

    height, width = images.shape[2:]
    scale = min(1.0, LARGEST / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    gap = max(1, size[0] // 16)
    strip = Image.new("RGB", (len(images) * (size[0] + gap) - gap, size[1]), "white")
    for place, image in enumerate(images.cpu().numpy()):
        single = Image.fromarray(levels(image, low, high))
        small = single if single.size == size else single.resize(size, Image.Resampling.BOX)
        strip.paste(small, (place * (size[0] + gap), 0))
    stream = BytesIO()
    strip.save(stream, "PNG")
    return picture(stream.getvalue(), description)


def escaped(value: object) -> str:
    """Write what `str` gives as text of a page, also of an attribute, in printable characters."""
    return html.escape(printable(str(value)))
