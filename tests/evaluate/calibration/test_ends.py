"""Scales at an end of what was tried."""

from __future__ import annotations

import pytest
import xarray as xr

import mosaic
from mosaic.evaluate.calibration.ends import ends_notes


def calibration(scales: list[float], tried: list[float]) -> xr.Dataset:
    """A calibration with these scales at the times 1, 1/2, ..., as a flow meets them."""
    times = [1 / n for n in range(1, len(scales) + 1)]
    return xr.Dataset({"scale": ("step", scales)}, {"time": ("step", times), "k": tried})


def test_times_whose_scale_is_the_largest_or_smallest_tried_are_named() -> None:
    notes = ends_notes(calibration([7, 7, 5, 3], [3, 5, 7]))
    assert [note.partition(" tried, ")[2].partition(";")[0] for note in notes] == ["7, at t = 0.5, 1", "3, at t = 0.25"]
    assert all("`sizes`" in note for note in notes)


def test_no_scale_within_what_was_tried_is_named() -> None:
    assert ends_notes(calibration([5, 5], [3, 5, 7])) == []
    assert ends_notes(calibration([1, 3], [1, 3, 5])) == []  # nothing is smaller than a pixel
    assert ends_notes(calibration([3, 5], [3, 5])) == []  # these are all ends


def test_a_calibration_warns_of_ends(tiny: mosaic.DataSet) -> None:
    network = mosaic.score("els", tiny, scales="3")
    with pytest.warns(mosaic.MosaicWarning, match="smallest tried, 3, at t = 0.5, 1") as warned:
        mosaic.calibrate(network, "els", samples=2, steps=2, sizes="3,5,7", progress=False)
    assert len(warned) == 1
    within = mosaic.calibrate(network, "els", samples=2, steps=2, sizes="1,3,5", progress=False)
    assert within["scale"].values.tolist() == [3, 3]
