"""Pictures of a comparison: final images side by side, and how far run and reference agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PathCollection

from mosaic.view.comparison import draw_agreement, draw_side_by_side


def compared(values: list[list[float]]) -> xr.Dataset:
    """A comparison of a metric of each image, `nearest`, and a metric with the reference, `likeness`."""
    roles = ["run", "baseline"][: len(values)]
    names = {"run": "els", "reference": "net", "baseline": "is"}
    every = [*names][: len(values) + 1]
    images = [np.random.default_rng(seed).uniform(-1, 1, (len(values[0]), 1, 3, 2)) for seed in range(len(every))]
    variables = {
        "image": (("role", "sample", "channel", "height", "width"), np.stack(images)),
        "nearest": (("role", "sample"), np.zeros((len(values) + 1, len(values[0])))),
        "likeness": (("compared", "sample"), np.array(values)),
    }
    runs = {role: {"name": names[role]} for role in every}
    attributes = {"dataset_range": json.dumps([-1, 1]), "runs": json.dumps(runs)}
    return xr.Dataset(variables, {"compared": roles, "role": every}, attributes)


VALUES = [[0.5, 0.25, 0.75, 0.125], [0.0, -0.5, 0.5, float("nan")]]


def test_a_row_is_a_run_and_a_column_a_sample_with_its_value_above() -> None:
    comparison = compared(VALUES)
    figure = draw_side_by_side(comparison)
    axes = np.array(figure.axes).reshape(3, 4)
    for row, name in enumerate(("els", "net", "is")):
        assert axes[row, 0].get_ylabel() == name
        for column in range(4):
            expected = (comparison["image"].values[row, column, 0] + 1) / 2
            np.testing.assert_allclose(axes[row, column].images[0].get_array(), expected)
    titles = [[axis.get_title() for axis in row] for row in axes]
    assert titles == [["0.50", "0.25", "0.75", "0.12"], [""] * 4, ["0.00", "-0.50", "0.50", "nan"]]
    assert "likeness" in figure.get_suptitle()


def test_the_first_samples_are_shown_up_to_a_limit() -> None:
    figure = draw_side_by_side(compared(VALUES[:1]), limit=3)
    assert len(figure.axes) == 2 * 3
    assert "3 of 4" in figure.get_suptitle()


def test_runs_are_called_as_asked_for_or_by_their_roles() -> None:
    names = {"run": "ELS", "reference": "a network"}
    assert draw_side_by_side(compared(VALUES[:1]), names).axes[4].get_ylabel() == "a network"
    assert draw_side_by_side(compared(VALUES[:1]).assign_attrs(runs="{}")).axes[0].get_ylabel() == "run"


def test_without_a_metric_there_is_no_value_above() -> None:
    none = compared(VALUES[:1]).drop_vars("likeness")
    assert {axis.get_title() for axis in draw_side_by_side(none).axes} == {""}
    assert not draw_agreement(none).axes[1].axison


def test_pixels_are_counted_run_against_reference() -> None:
    comparison = compared(VALUES[:1])
    figure = draw_agreement(comparison)
    left = figure.axes[0]
    counts = np.ma.filled(np.ma.asarray(left.collections[0].get_array()), 0).reshape(60, 60)
    pixels = [comparison["image"].values[role].ravel() for role in (1, 0)]
    assert counts.sum() == pixels[0].size
    expected, *_ = np.histogram2d(*pixels, bins=60, range=[(-1.5, 1.5)] * 2)
    np.testing.assert_array_equal(counts, expected.T)
    assert ("net" in left.get_xlabel(), "els" in left.get_ylabel()) == (True, True)


def test_without_a_baseline_the_metric_is_a_histogram_about_its_median() -> None:
    right = draw_agreement(compared(VALUES[:1])).axes[1]
    bars = {round(bar.get_x(), 3): bar.get_height() for bar in right.patches if bar.get_height()}
    assert bars == {0.1: 1, 0.25: 1, 0.5: 1, 0.75: 1}
    assert right.lines[0].get_xdata() == [0.375, 0.375]
    assert "0.38" in right.get_legend().get_texts()[0].get_text()


def test_with_a_baseline_the_metric_is_run_against_baseline_and_bounds_hold_all() -> None:
    right = draw_agreement(compared(VALUES)).axes[1]
    samples, medians = (each for each in right.collections if isinstance(each, PathCollection))
    known = np.ma.compressed(np.ma.masked_invalid(samples.get_offsets()[:3]))
    assert known.tolist() == [0.0, 0.5, -0.5, 0.25, 0.5, 0.75]
    assert medians.get_offsets().tolist() == [[0.0, 0.375]]
    assert right.lines[0].get_xdata() == pytest.approx([-0.5, 1.0])
    assert ("is" in right.get_xlabel(), "els" in right.get_ylabel()) == (True, True)


@pytest.mark.filterwarnings("error")
def test_a_metric_without_any_value_is_drawn_without_a_warning() -> None:
    nothing = [[float("nan")] * 4]
    right = draw_agreement(compared(nothing)).axes[1]
    assert sum(bar.get_height() for bar in right.patches) == 0
