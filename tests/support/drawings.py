"""What a drawn figure says and shows: its size as a file, its texts, its images, and whether these can be seen."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
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


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """The texts that are drawn, without those of ticks out of sight, and where, in pixels."""
    drawn: list[Text] = []
    draw = Text.draw

    def record(text: Text, *arguments: object, **keywords: object) -> None:
        drawn.append(text)
        draw(text, *arguments, **keywords)  # type: ignore[arg-type]

    canvas = FigureCanvasAgg(figure)
    with patch.object(Text, "draw", record):
        canvas.draw()
    shown = [text for text in drawn if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in shown]


def check_readable(figure: Figure, side: float = 0.95) -> None:
    """Hold every text to lie in the figure and on no other text, and every image to have a side of so many inches."""
    texts = drawn_texts(figure)
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in texts:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, (text, box.extents.round(1).tolist(), width, height)
    for (text, box), (other, beside) in combinations(texts, 2):
        both = Bbox.intersection(box, beside)
        assert both is None or min(both.width, both.height) <= 2, (text, other, both)
    for axis in figure.axes:
        if axis.images:
            box = axis.get_window_extent()
            assert max(box.width, box.height) / figure.dpi >= side, (box.width / figure.dpi, box.height / figure.dpi)
