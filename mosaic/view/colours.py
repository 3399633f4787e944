"""Colours of tiles: which training image a pixel comes from, alike in plots and reports."""

from __future__ import annotations

import numpy as np

__all__ = ["PALE", "PALETTE", "TIED", "tile_colours"]


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))


PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe & Ito's
TIED = "#ffffff"
PALE = tuple(tuple(0.3 * part + 0.7 * 0.85 for part in _rgb(colour)) for colour in PALETTE)


def tile_colours(image: np.ndarray, multiplicity: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Colour pixels (H, W) by the training image they come from.

    Returns
    -------
    array (H, W, 3)
        Colours in [0, 1]: one each for the images most pixels without equals come from, pale ones in turn for others,
        white for pixels whose source has equals.
    list of int
        Those images, in the order of `PALETTE`; of equally frequent ones the first.
    """
    untied = multiplicity <= 1  # 0: not counted
    names, counts = np.unique(image[untied], return_counts=True)
    ordered = names[np.argsort(-counts, kind="stable")].tolist()
    chosen = ordered[: len(PALETTE)]
    colours = np.tile(_rgb(TIED), (*image.shape, 1))
    for place, name in enumerate(ordered):
        colour = _rgb(PALETTE[place]) if place < len(PALETTE) else PALE[place % len(PALE)]
        colours[untied & (image == name)] = colour
    return colours, chosen
