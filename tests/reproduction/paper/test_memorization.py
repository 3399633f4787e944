"""From mosaics towards copies: scales are multiplied, and images become copies."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.paper.memorization import FACTORS, Memorization, multiplied
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study


def test_multiplied_scales_are_the_nearest_odd_numbers() -> None:
    for k, factor in itertools.product(range(1, 19, 2), FACTORS):
        (actual,) = multiplied([k], factor)
        odd = [n for n in range(1, 99, 2) if abs(n - k * factor) == min(abs(m - k * factor) for m in range(1, 99, 2))]
        assert actual == max(odd)


def test_memorization_ends_in_copies(folder: Path) -> None:
    actual = mosaic.reproduce("memorization", ["fashion-resnet-zeros"], out=folder, **SMALL)
    assert actual["factor"].values.tolist() == list(FACTORS)
    share, distance = (actual[name].median("sample") for name in ("share", "nearest_train"))
    assert share.sel(factor=3.0) > share.sel(factor=1.0)  # 3 x k covers nearly all of 8 x 8 pixels
    assert distance.sel(factor=3.0) < distance.sel(factor=1.0)
    assert ((actual["share"] > 0) & (actual["share"] <= 1)).all()
    assert (actual["n_eff"] >= 1).all()
    assert actual["k"].values[0].tolist() == multiplied(actual["k"].values[1].tolist(), 0.5)
    assert float(actual["between_training"]) > 0


def test_a_scale_stays_odd_and_at_least_a_pixel() -> None:
    assert multiplied([1, 3, 5], 0.01) == [1, 1, 1]
    assert multiplied([1, 3, 5], 1.0) == [1, 3, 5]
    assert multiplied([4], 0.5) == [3]  # 2 is as near to 1: up


@pytest.fixture
def measured() -> xr.Dataset:
    """Three samples of 4 x 4 pixels at each factor."""
    number = np.arange(5.0)[:, None] + np.array([0.0, 0.1, 9.0])  # medians are factor number + 0.1
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "share": (("factor", "sample"), number / 10),
            "share_untied": (("factor", "sample"), number / 20),
            "tied": (("factor", "sample"), number / 40),
            "nearest_train": (("factor", "sample"), 10 * number),
            "n_eff": (("factor", "sample", "step"), 1 + rng.random((5, 3, 4))),
            "image": (("factor", "sample", "channel", "height", "width"), rng.uniform(-1, 1, (5, 3, 1, 4, 4))),
            "between_training": 12.34,
        },
        {"factor": list(FACTORS), "time": ("step", [1.0, 0.6, 0.3, 0.0])},
        {"dataset_range": "[-1.0, 1.0]"},
    )


def test_its_summary_says_the_medians_at_each_factor(measured: xr.Dataset) -> None:
    *lines, between = Memorization(Study(ReproduceConfig(), Path("root"))).summary(measured)
    assert [re.findall(r"k x ([0-9.]+):", line) for line in lines] == [["0.5"], ["1"], ["1.5"], ["2"], ["3"]]
    shares = [float(re.findall(r"one image ([0-9.]+)", line)[0]) for line in lines]
    np.testing.assert_allclose(shares, np.arange(5) / 10 + 0.01)
    last = np.median(measured["n_eff"].values[2, :, -1])
    assert lines[2].endswith(f"{last:.3g}")
    assert between.endswith(" 12.3")


def test_its_curves_are_medians_over_samples(measured: xr.Dataset, tmp_path: Path) -> None:
    figure = Memorization(Study(ReproduceConfig(), Path("root"))).draw(measured)
    left, middle, right = figure.axes[-3:]
    shares, untied = (line.get_xydata() for line in left.get_lines())
    np.testing.assert_allclose(shares, np.stack([FACTORS, np.arange(5) / 10 + 0.01], 1))
    np.testing.assert_allclose(untied, np.stack([FACTORS, np.arange(5) / 20 + 0.005], 1))
    assert set(middle.get_lines()[1].get_ydata()) == {12.34}
    np.testing.assert_allclose(right.get_lines()[4].get_ydata(), np.median(measured["n_eff"].values[4], 0))
    assert len(figure.axes) == 5 * 3 + 3
    check_readable(figure)
