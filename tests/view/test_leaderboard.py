"""The picture of a leaderboard, and its order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from mosaic.view.leaderboard import COLOURS, draw_leaderboard, has_ceiling, ranked, ranking_metric

SCORES = ["a", "network", "b", "failed", "c"]
NAN = float("nan")


def board(metric: str, medians: list[float]) -> xr.Dataset:
    values = np.array(medians)
    steps = np.arange(15.0).reshape(5, 3)
    variables = {
        f"final_{metric}": (("score", "sample"), np.zeros((5, 7))),
        f"final_{metric}_median": ("score", values),
        f"final_{metric}_low": ("score", values - 0.125),
        f"final_{metric}_high": ("score", values + 0.25),
        **{f"step_{metric}_{end}": (("score", "step"), steps) for end in ("median", "low", "high")},
        "seconds_per_step": ("score", [1.0, 0.5, 2.0, NAN, 4.0]),
    }
    coordinates = {"score": SCORES, "time": ("step", [1.0, 0.6, 0.3]), "sample": range(7)}
    return xr.Dataset(variables, coordinates, {"title": "mine"})


@pytest.mark.parametrize(
    ("metric", "expected"), [("pearson_r", ["c", "a", "b", "failed"]), ("mse", ["b", "a", "c", "failed"])]
)
def test_theories_are_ranked_by_the_first_metric_failures_last_and_without_the_network(
    metric: str, expected: list[str]
) -> None:
    table = board(metric, [0.5, 0.9, 0.25, NAN, 0.75])
    assert ranking_metric(table) == metric
    assert ranked(table) == expected


def test_agreement_is_drawn_against_cost_with_intervals() -> None:
    left = draw_leaderboard(board("pearson_r", [0.5, NAN, 0.25, NAN, 0.75])).axes[0]
    bars = {float(bar.lines[0].get_xdata()[0]): bar for bar in left.containers}
    assert {seconds: float(bar.lines[0].get_ydata()[0]) for seconds, bar in bars.items()} == {4: 0.75, 1: 0.5, 2: 0.25}
    (interval,) = bars[4.0].lines[2][0].get_segments()
    assert interval[:, 1].tolist() == [0.625, 1.0]
    assert to_hex(bars[4.0].lines[0].get_color()) == COLOURS[0]
    assert left.get_xscale() == "log"
    (network,) = [line for line in left.lines if line.get_linestyle() == ":"]
    assert list(network.get_xdata()) == [0.5, 0.5]


def test_agreement_along_the_flow_is_drawn_by_theory_in_the_order_of_ranks() -> None:
    table = board("pearson_r", [0.5, NAN, 0.25, NAN, 0.75])
    figure = draw_leaderboard(table)
    right = figure.axes[1]
    assert [line.get_label() for line in right.lines] == ["c", "a", "b"]
    for line in right.lines:
        np.testing.assert_array_equal(line.get_xdata(), [1.0, 0.6, 0.3])
        np.testing.assert_array_equal(line.get_ydata(), table["step_pearson_r_median"].sel(score=line.get_label()))
    assert len(figure.legends[0].get_texts()) == 4
    assert "mine" in figure.get_suptitle()
    assert "7" in figure.get_suptitle()


def test_another_training_is_a_line_with_a_band_in_both_pictures() -> None:
    table = board("pearson_r", [0.5, 0.875, 0.25, NAN, 0.75])
    assert has_ceiling(table)
    assert not has_ceiling(board("pearson_r", [0.5, NAN, 0.25, NAN, 0.75]))
    table = table.expand_dims(training=3).assign(table.drop_vars("final_pearson_r"))
    figure = draw_leaderboard(table)
    left, right = figure.axes[:2]
    level = next(line for line in left.lines if line.get_linestyle() == "-" and to_hex(line.get_color()) == "#000000")
    assert list(level.get_ydata()) == [0.875, 0.875]
    (band,) = left.patches
    assert band.get_bbox().get_points()[:, 1].tolist() == [0.75, 1.125]
    (line,) = [line for line in right.lines if line.get_label() == "another training"]
    np.testing.assert_array_equal(line.get_ydata(), table["step_pearson_r_median"].sel(score="network"))
    assert figure.legends[0].get_texts()[0].get_text() == "another training"
    assert "3 trainings" in figure.get_suptitle()


@pytest.mark.parametrize("seconds", [(1.2e-3, 1.4e-3), (2e-3, 1e-2), (1e-4, 30.0)])
def test_times_on_the_axis_do_not_lie_on_each_other(seconds: tuple[float, float]) -> None:
    drawn = board("pearson_r", [0.5, NAN, 0.25, NAN, 0.75])
    drawn["seconds_per_step"].values[:] = np.linspace(*seconds, drawn.sizes["score"])
    figure = draw_leaderboard(drawn)
    FigureCanvasAgg(figure).draw()
    axis = figure.axes[0].xaxis
    texts = [label for label in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)) if label.get_text()]
    low, high = figure.axes[0].get_xlim()
    boxes = sorted(
        (label.get_window_extent() for label in texts if low <= label.get_position()[0] <= high), key=lambda box: box.x0
    )
    assert boxes
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
