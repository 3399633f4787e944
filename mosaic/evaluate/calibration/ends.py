"""Scales that are the best at an end of what was tried, so that a better one may lie beyond."""

from __future__ import annotations

import xarray as xr

__all__ = ["ends_notes"]


def ends_notes(calibration: xr.Dataset) -> list[str]:
    """Name the times at which the chosen scale is the largest tried, or the smallest.

    No scale below 1 is missed, since windows are a pixel at least. Where fewer than three were tried nothing is said:
    all, or nearly all, are ends.
    """
    tried, rising = calibration["k"].values, calibration.sortby("time")
    if len(tried) < 3:
        return []
    notes = []
    for word, end, matters in (("largest", tried[-1], True), ("smallest", tried[0], tried[0] > 1)):
        times = rising["time"].values[rising["scale"].values == end]
        if matters and len(times):
            places = ", ".join(f"{time:.3g}" for time in times)
            notes.append(f"The best scale is the {word} tried, {end:.4g}, at t = {places}; try more with `sizes`.")
    return notes
