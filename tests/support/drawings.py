"""What a drawn figure says and shows: its size as a file, its texts, its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mosaic.view.images import save_figure


def stored_size(figure: Figure, path: Path) -> tuple[int, int]:
    """Width and height in pixels of the figure written as a PNG."""
    save_figure(figure, path)
    with Image.open(path) as image:
        assert np.asarray(image.convert("L")).std() > 1  # something is drawn
        return image.size


def texts_of(figure: Figure) -> list[str]:
    """All texts of a figure that are not empty."""
    return [text for part in figure.findobj(Text) if (text := part.get_text())]


def pixels_of(axis: Axes) -> np.ndarray:
    """The image that is drawn in axes."""
    (image,) = axis.get_images()
    return np.asarray(image.get_array())
