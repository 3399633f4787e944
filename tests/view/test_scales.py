"""Pictures of locality scales: of a calibration, and of a run."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.view.scales import draw_run_scales, draw_scales


@pytest.fixture
def calibration() -> xr.Dataset:
    """Of four samples, three scales and two steps, from noise to data."""
    best = np.array([[5, 3], [5, 3], [7, 3], [9, 5]])
    quartiles = np.quantile(best, [0.25, 0.5, 0.75], axis=0)
    variables = {
        "best": (("sample", "step"), best),
        "scale": ("step", [5, 3]),
        "scale_q25": ("step", quartiles[0]),
        "scale_q75": ("step", quartiles[2]),
    }
    return xr.Dataset(variables, {"k": [3, 5, 7, 9], "time": ("step", [1.0, 0.5])}, {"title": "mine"})


def test_a_calibration_is_drawn_as_shares_of_samples_medians_and_quartiles(calibration: xr.Dataset) -> None:
    figure = draw_scales(calibration)
    axis = figure.axes[0]
    mesh, quartiles = axis.collections
    shares = np.asarray(mesh.get_array()).reshape(4, 2)  # by scale, and by time, data first
    np.testing.assert_array_equal(shares, [[0.75, 0], [0.25, 0.5], [0, 0.25], [0, 0.25]])
    (medians,) = axis.lines
    np.testing.assert_array_equal(medians.get_xydata(), [[0, 0], [1, 1]])
    ends = np.array(quartiles.get_segments())
    np.testing.assert_array_equal(ends[0], [[0, 0], [0, 0.25]])  # from 3 to 3.5 pixels
    np.testing.assert_array_equal(ends[1], [[1, 1], [1, 2.25]])  # from 5 to 7.5 pixels
    assert [text.get_text() for text in axis.get_yticklabels()] == ["3", "5", "7", "9"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0.50", "1.00"]
    assert figure.get_suptitle() == "mine"


def test_a_single_step_and_a_single_scale_are_seen(calibration: xr.Dataset) -> None:
    for one in (calibration.isel(step=[1]), calibration.assign(best=calibration["best"] * 0 + 3).isel(k=[0])):
        axis = draw_scales(one.assign({name: one["scale"] * 0 + 3 for name in one if "scale" in str(name)})).axes[0]
        box = axis.collections[0].get_datalim(axis.transData)
        assert (box.width, box.height) == (one.sizes["step"], one.sizes["k"])


def test_scales_of_a_run_are_drawn_against_time(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("ls", tiny, steps=3, samples=1, scales="3,3,5", save="none")
    axis = draw_run_scales(run).axes[0]
    (line,) = axis.lines
    np.testing.assert_array_equal(line.get_xdata(), run["time"])
    np.testing.assert_array_equal(line.get_ydata(), [5, 3, 3])
    assert axis.get_ylim()[0] == 0


def test_a_run_without_scales_has_none_to_draw(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.DataError):
        draw_run_scales(mosaic.run("is", tiny, steps=2, samples=1, save="none"))


def test_best_scales_between_those_tried_count_for_the_nearer_one(calibration: xr.Dataset) -> None:
    best = np.array([[3.2, 5.5], [3.8, 5.5], [4.1, 7.9], [5.0, 9.0]])
    quartiles = np.quantile(best, [0.25, 0.5, 0.75], axis=0)
    values = {"best": (("sample", "step"), best)} | {
        name: ("step", end) for name, end in zip(("scale_q25", "scale", "scale_q75"), quartiles, strict=True)
    }
    axis = draw_scales(calibration.assign(values)).axes[0]
    shares = np.asarray(axis.collections[0].get_array()).reshape(4, 2)
    np.testing.assert_array_equal(shares, [[0, 0.5], [0.5, 0.5], [0.25, 0], [0.25, 0]])
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [[0, 1.85], [1, 0.475]])  # 6.7 and 3.95 pixels


def test_many_scales_are_named_as_far_as_there_is_room() -> None:
    tried = np.geomspace(2, 17, 50)
    at = {name: ("step", [tried[3]]) for name in ("scale", "scale_q25", "scale_q75")}
    table = xr.Dataset({"best": (("sample", "step"), [[tried[3]]]), **at}, {"k": tried, "time": ("step", [1.0])})
    labels = [text.get_text() for text in draw_scales(table).axes[0].get_yticklabels()]
    assert labels[:3] == ["2", "2.28", "2.6"]
    assert len(labels) == 17
