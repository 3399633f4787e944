"""The picture of effective candidates: maps, and their course over time."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.view.entropy import draw_entropy, effective_candidates


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=4, samples=3, scales="3", save="provenance,entropy", save_steps="all")


def test_the_curve_is_the_median_of_the_pixels_that_are_shown(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=4, samples=3, scales="3", save="n_eff", save_steps="all")
    *_, axis = draw_entropy(run, [0, 1]).axes
    expected = run["n_eff"].isel(sample=[0, 1]).median(["sample", "height", "width"])
    np.testing.assert_allclose(axis.lines[0].get_ydata(), expected)
    np.testing.assert_allclose(axis.lines[0].get_xdata(), run["time"])


def test_effective_candidates_are_kept_or_follow_from_the_entropy(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    np.testing.assert_allclose(effective_candidates(run), np.exp(run["entropy"].values), rtol=1e-6)
    kept = run.rename(entropy="n_eff")
    assert effective_candidates(kept).identical(kept["n_eff"])
    for lacking in (run.drop_vars("entropy"), run.assign(entropy=run["entropy"].where(run["step"] > 0))):
        with pytest.raises(mosaic.DataError, match="`save` entropy"):
            draw_entropy(lacking, [0])


def test_maps_of_effective_candidates_are_those_of_the_sample_at_the_times_above_them(run: xr.Dataset) -> None:
    figure = draw_entropy(run, [1], columns=2)
    maps = figure.axes[:2]
    assert [axis.get_title() for axis in maps] == ["t = 1.00", "t = 0.25"]
    for axis, step in zip(maps, (0, 3), strict=True):
        np.testing.assert_allclose(axis.images[0].get_array(), np.exp(run["entropy"].values[1, step]), rtol=1e-6)
    with pytest.raises(mosaic.UsageError, match=r"\b3\b.*\b2\b"):
        draw_entropy(run, [3])


def test_there_are_no_gaps_between_maps(run: xr.Dataset) -> None:
    figure = draw_entropy(run, [0, 1])
    for first, second in ((0, 1), (1, 2), (4, 5)):
        left, right = (figure.axes[n].get_window_extent() for n in (first, second))
        assert 0 < right.x0 - left.x1 < 0.1 * left.width
