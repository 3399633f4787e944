"""The picture of the attention experiment: bars of verdicts, likeness, and maps."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable, pixels_of, texts_of
from made_up_attention import made_up_attention
from matplotlib.figure import Figure

from mosaic.reproduction.attention.picture import draw_attention

MAKERS = ("resnet", "resnet-attention", "els", "compose softmax", "is")


@pytest.fixture(scope="module")
def measured() -> xr.Dataset:
    return made_up_attention(MAKERS, MAKERS[2:], MAKERS[:2])


@pytest.fixture(scope="module")
def figure(measured: xr.Dataset) -> Figure:
    return draw_attention(measured)


def test_bars_are_the_shares_of_verdicts_and_add_up(measured: xr.Dataset, figure: Figure) -> None:
    (axis,) = (axis for axis in figure.axes if axis.patches)
    widths = np.array([bar.get_width() for bar in axis.patches]).reshape(5, len(MAKERS))
    verdicts, copies = measured["verdict"].values, measured["copy"].values
    counts = 10 * measured["trainings"].values  # samples of all trainings of a maker
    new, copied = (((verdicts == 0) & chosen).sum((1, 2)) / counts for chosen in (~copies, copies))
    expected = [new, copied, *((verdicts == n).sum((1, 2)) / counts for n in (1, 2, 3))]
    np.testing.assert_allclose(widths, expected, rtol=0, atol=1e-12)
    begins = np.array([bar.get_x() for bar in axis.patches]).reshape(5, len(MAKERS))
    np.testing.assert_allclose(begins, np.cumsum(expected, 0) - expected, rtol=0, atol=1e-12)


def test_each_training_of_several_has_a_point(measured: xr.Dataset, figure: Figure) -> None:
    (axis,) = (axis for axis in figure.axes if axis.patches)
    (points,) = (line for line in axis.get_lines() if line.get_label() == "each training")
    consistent = (measured["verdict"].values == 0).mean(2)
    expected = [(consistent[maker, training], maker) for maker in (0, 1) for training in range(3)]
    np.testing.assert_allclose(points.get_xydata(), expected)


def test_the_likeness_of_each_theory_stands_at_its_bar(measured: xr.Dataset, figure: Figure) -> None:
    (axis,) = (axis for axis in figure.axes if len(axis.texts) > 1)
    written = {text.get_position(): text.get_text() for text in axis.texts}
    for column, network in enumerate(MAKERS[:2]):
        for line, theory in enumerate(MAKERS[2:], 2):
            r = float(measured["pearson_r_median"].sel(theory=theory, network=network))
            assert written[column, line] == f"{r:.2f}"


def test_maps_are_scaled_to_the_largest_weight_which_is_written_above(measured: xr.Dataset, figure: Figure) -> None:
    maps = [axis for axis in figure.axes if axis.get_images() and axis.get_title()]
    assert len(maps) == 2 * 2 * 5  # all five moments, where at most eight are shown
    for axis, moment in ((maps[0], 0), (maps[4], 4)):
        alpha = measured["alpha"].values[0, moment, 0]
        np.testing.assert_allclose(pixels_of(axis), alpha / alpha.max())
        assert axis.get_title().endswith(f"{alpha.max():.2g}")


def test_eight_samples_of_each_maker_are_drawn_and_named(measured: xr.Dataset, figure: Figure) -> None:
    samples = [axis for axis in figure.axes if axis.get_images() and not axis.get_title()]
    assert len(samples) == 8 * len(MAKERS)
    expected = np.moveaxis((measured["image"].values[4, 0, 7] + 1) / 2, 0, -1)
    np.testing.assert_allclose(pixels_of(samples[-1]), expected, rtol=0, atol=1e-7)
    assert set(MAKERS) <= set(texts_of(figure))
    check_readable(figure, side=0.6)
