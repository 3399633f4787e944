"""The values that are black and white, and pixels that contradict them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mosaic
from mosaic_data.pixel_range import PixelRange, dark_note


def test_the_range_is_judged_over_all_pieces() -> None:
    pixel_range = PixelRange(np.dtype(np.float32), (0.0, 1.0), Path("x"))
    for value in (0.5, 1.5, 0.25):
        pixel_range.see(value, value)
    with pytest.raises(mosaic.DataError, match=r"\[0\.25, 1\.5\].*\[0, 1\]"):
        pixel_range.check(3, 3)


def test_what_is_not_finite_is_left_to_the_data_set() -> None:
    for bad in (np.nan, np.inf):
        pixel_range = PixelRange(np.dtype(np.float32), None, Path("x"))
        for value in (9.0, bad, 9.0):
            pixel_range.see(value, value)
        assert pixel_range.check(3, 3) == []


@pytest.mark.parametrize(("most", "high", "noted"), [(1, 255, True), (63, 255, True), (64, 255, False)])
def test_pixels_far_below_white_are_noted(most: int, high: int, noted: bool) -> None:
    notes = dark_note(most, high, "say so", 12, 12)
    assert len(notes) == noted
    assert all(str(most) in note and str(high) in note for note in notes)


def test_a_note_says_that_only_some_images_were_looked_at() -> None:
    (some,), (whole,) = (dark_note(1, 255, "say so", read, 12) for read in (5, 12))
    assert "5" in some
    assert "12" in some
    assert "12" not in whole
