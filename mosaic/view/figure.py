"""The figures that all pictures are drawn on: they show themselves in notebooks, and their texts fit."""

from __future__ import annotations

import io
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from mosaic.progress import printable

__all__ = [
    "GAP",
    "IMAGE",
    "LINE",
    "MARGIN",
    "Picture",
    "bare",
    "count_along",
    "fitted",
    "grid",
    "name_rows",
    "printing",
    "sides_of",
]

IMAGE = 1.0  # inches that the longer side of an image has at least
SHORT = 0.5  # and the shorter one, so that texts of a few letters fit beside it
POINTS = 72  # an inch
LINE = 1.4 / POINTS  # inches that a line takes, for each point of its letters
GAP, MARGIN = 0.06, 0.1  # inches between images, and around all
NARROWEST = 2.4  # inches
LINES = 8  # of a title


class Picture(Figure):
    """A figure that a notebook shows, without `%matplotlib inline`, and once; its title has as many lines as it needs.

    Parameters
    ----------
    width, height : float
        Inches of what is below the title.
    title : str
        Broken into lines that fit; what is beyond eight lines is cut.
    size : float
        Points of the title's letters.
    is_laid_out : bool
        Whether matplotlib finds places for the axes; otherwise they are placed by `place`.
    """

    def __init__(self, width: float, height: float, title: str = "", size: float = 9, is_laid_out: bool = True) -> None:
        text = fitted(title, width - 2 * MARGIN, size, LINES)
        self.above = (text.count("\n") + 1) * size * LINE + MARGIN if text else 0.0
        whole = height + self.above
        super().__init__(figsize=(width, whole), dpi=120, layout="constrained" if is_laid_out else None)
        if text:
            self.suptitle(text, fontsize=size, **({} if is_laid_out else {"y": 1 - MARGIN / 2 / whole}))

    def place(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes of this size, at this place from the left and from below the title, all in inches."""
        whole_width, whole_height = self.get_size_inches().tolist()
        bottom = whole_height - self.above - top - height
        return self.add_axes((left / whole_width, bottom / whole_height, width / whole_width, height / whole_height))

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with printing():
            self.savefig(buffer, format="png")
        return buffer.getvalue()


def bare(axis: Axes) -> Axes:
    """Take ticks and frame from axes, as for an image."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_frame_on(False)
    return axis


def sides_of(shape: Sequence[int], side: float = IMAGE) -> tuple[float, float]:
    """Height and width in inches of an image of this shape, the longer one at least `side`."""
    inches = max(side, SHORT * max(shape) / min(shape)) / max(shape)
    return shape[0] * inches, shape[1] * inches


@contextmanager
def printing() -> Iterator[None]:
    """Print letters of names for which there are no glyphs as boxes, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        yield


def fitted(text: str, width: float, size: float, lines: int = 1) -> str:
    """Break a text into lines that are at most `width` inches wide in letters of `size` points.

    Lines break at blanks, and inside words that are wider than a line. Line breaks of the text stay. What is beyond the
    last line is cut. A dollar is a dollar: names are no formulas. What a PDF's reader would obey is shown as it is
    written, as by `printable`.
    """
    font = FontProperties(size=size)

    def fits(line: str) -> bool:
        return float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) <= width * POINTS

    def too_wide(text: str, end: int) -> bool:
        return not fits(text[:end])

    broken: list[str] = []
    with printing():
        for paragraph in text.split("\n"):
            rest = printable(paragraph)
            while rest:
                if fits(rest):
                    end = len(rest)
                else:
                    end = max(1, bisect_left(range(1, len(rest)), True, key=partial(too_wide, rest)))
                    blank = rest.rfind(" ", 1, end + 1)
                    end = blank if blank > 0 else end
                broken.append(rest[:end].strip())
                rest = rest[end:].lstrip()
        if len(broken) > lines:
            last = broken[lines - 1]
            while last and not fits(f"{last}…"):
                last = last[:-1]
            broken = [*broken[: lines - 1], f"{last.rstrip()}…"]
    return "\n".join(broken).replace("$", r"\$")


def count_along(*axes: Axis) -> None:
    """Put ticks only at whole numbers: there is no half a sample."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator(nbins="auto", integer=True, min_n_ticks=1))


def grid(
    rows: int,
    cols: int,
    shape: Sequence[int],
    title: str = "",
    *,
    size: float = 9,
    side: float = IMAGE,
    above: Sequence[float] | float = 0.0,
    least: float = NARROWEST,
    left: float = 0.0,
    right: float = 0.0,
    below: float = 0.0,
) -> tuple[Picture, Any]:
    """Make a figure of rows x cols bare axes for images, each of the image's shape and as large as asked for.

    Parameters
    ----------
    rows, cols : int
        How many.
    shape : sequence of int
        Height and width of an image, in pixels.
    title, size
        As for `Picture`.
    side : float
        Inches of an image's longer side, at least.
    above : float, or sequence of float
        Points of text above the images of each row, lines added up; or of every row.
    least : float
        Inches that the figure is wide at least.
    left, right, below : float
        Inches to the left, to the right and below.
    """
    height, width = sides_of(shape, side)
    heights = [above] * rows if isinstance(above, (int, float)) else list(above)
    needed = left + cols * (width + GAP) + right + 2 * MARGIN
    whole = max(needed, least)
    tops = [sum(heights[: row + 1]) * LINE + row * (height + GAP) for row in range(rows)]
    figure = Picture(whole, tops[-1] + height + MARGIN + below, title, size, is_laid_out=False)
    start = (whole - needed) / 2 + MARGIN + left
    places = [[(start + col * (width + GAP), top) for col in range(cols)] for top in tops]
    return figure, np.array([[bare(figure.place(*place, width, height)) for place in row] for row in places])


def name_rows(axes: Any, names: Sequence[str], size: float = 7) -> None:
    """Write names, made to fit, to the left of the first of each row's axes."""
    for axis, name in zip(axes[:, 0], names, strict=True):
        axis.set_ylabel(name, fontsize=size, rotation=0, ha="right", va="center", labelpad=3)
