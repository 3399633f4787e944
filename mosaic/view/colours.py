"""Colours of all pictures; and of tiles, by the training image that a pixel comes from, alike in plots and reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PALE",
    "PALETTE",
    "SKY",
    "TIED",
    "YELLOW",
    "chosen_sources",
    "tile_colours",
]


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


# Okabe & Ito's colours (2008), which people with any colour vision tell apart.
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
PALETTE = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY)
GREY = "#7f7f7f"
TIED = "#ffffff"
PALE = tuple(tuple(0.3 * part + 0.7 * 0.85 for part in _rgb(colour)) for colour in PALETTE)


def chosen_sources(image: NDArray[np.int64], multiplicity: NDArray[np.int64]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Choose the training images that most pixels (H, W) come from.

    Returns
    -------
    list of (int, array (H, W))
        At most one for each colour of `PALETTE`, of equally frequent ones the first; and the pixels that come from it,
        without those whose source has equals.
    """
    return _ranked(image, multiplicity)[: len(PALETTE)]


def _ranked(image: NDArray[np.int64], multiplicity: NDArray[np.int64]) -> list[tuple[int, NDArray[np.bool_]]]:
    untied = multiplicity <= 1  # 0: not counted
    names, counts = np.unique(image[untied], return_counts=True)
    ordered = names[np.argsort(-counts, kind="stable")].tolist()
    return [(int(name), untied & (image == name)) for name in ordered]


def tile_colours(image: NDArray[np.int64], multiplicity: NDArray[np.int64]) -> tuple[NDArray[np.float64], list[int]]:
    """Colour pixels (H, W) by the training image they come from.

    Returns
    -------
    array (H, W, 3)
        Colours in [0, 1]: one each for the images that `chosen_sources` gives, pale ones in turn for others, white for
        pixels whose source has equals.
    list of int
        Those images, in the order of `PALETTE`.
    """
    ranked = _ranked(image, multiplicity)
    colours = np.tile(_rgb(TIED), (*image.shape, 1))
    for place, (_, used) in enumerate(ranked):
        colours[used] = _rgb(PALETTE[place]) if place < len(PALETTE) else PALE[place % len(PALE)]
    return colours, [name for name, _ in ranked[: len(PALETTE)]]
