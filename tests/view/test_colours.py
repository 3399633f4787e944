"""Colours of tiles by the training image they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import mosaic.view
from mosaic.view.colours import PALE, PALETTE, tile_colours


def test_colours_are_chosen_in_one_place() -> None:
    named = [
        path.name
        for path in Path(mosaic.view.__path__[0]).rglob("*.py")
        if any(colour in path.read_text(encoding="utf-8") for colour in PALETTE)
    ]
    assert named == ["colours.py"]


def test_pixels_have_the_colour_of_their_source_image() -> None:
    image = np.array([[7, 7, 3], [3, 7, 9], [1, 2, 9]])
    multiplicity = np.array([[1, 1, 1], [1, 1, 5], [1, 1, 1]])
    colours, chosen = tile_colours(image, multiplicity)
    assert chosen == [7, 3, 1, 2, 9]
    for place in np.ndindex(3, 3):
        expected = "white" if multiplicity[place] > 1 else PALETTE[chosen.index(image[place])]
        assert tuple(colours[place]) == pytest.approx(to_rgb(expected))
    many, shown = tile_colours(np.arange(9).reshape(3, 3), np.ones((3, 3)))
    assert shown == list(range(6))
    assert tuple(many[2, 2]) == pytest.approx(PALE[2])
