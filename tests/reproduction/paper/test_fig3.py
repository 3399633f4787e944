"""Figure 3: which pixels have the colour of most of their window."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable, pixels_of
from small_reproduction import same

import mosaic
from mosaic.reproduction.paper.fig3 import Fig3, in_the_majority
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study


@pytest.mark.parametrize("boundary", ["circular", "zeros"])
def test_the_majority_of_a_window_by_counting(boundary: str) -> None:
    images = np.random.default_rng(0).choice([-1.0, -0.995, 0.4, 1.0], (2, 1, 4, 5))
    actual, alike = (in_the_majority(images, boundary, by_sign) for by_sign in (False, True))
    for b, i, j in np.ndindex(2, 4, 5):
        window = [(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)]
        if boundary == "circular":
            window = [(row % 4, col % 5) for row, col in window]
        votes = sum(np.sign(images[b, 0, row, col]) for row, col in window if 0 <= row < 4 and 0 <= col < 5)
        value = images[b, 0, i, j]
        colour = np.sign(votes) if votes else np.sign(value)
        assert actual[b, 0, i, j] == (abs(value - colour) <= 1e-2)
        assert alike[b, 0, i, j] == (np.sign(value) == colour)


def test_fig3_rises_with_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.reproduction.paper.fig3.STEPS", (5, 20))
    monkeypatch.setattr("mosaic.reproduction.paper.fig3.SAMPLES", 2)
    actual = mosaic.reproduce("fig3", out="out")
    shares = actual["share"].mean("sample").sel(boundary="circular").values
    assert 0.95 < shares[0] < shares[1] <= 1
    assert actual["image"].shape == (2, 2, 2, 1, 32, 32)
    assert (actual["share_by_sign"] >= actual["share"]).all()
    assert ((actual["share_by_sign"] - actual["share"]).sel(steps=5) > 0).all()  # few steps leave grey pixels
    stored = xr.open_dataset("out/cpu/fig3.nc")
    same(stored, actual)
    assert (Path("out/cpu/fig3.png")).stat().st_size > 5000


def test_images_of_a_single_colour_are_all_in_the_majority() -> None:
    for boundary in ("circular", "zeros"):
        for colour in (-1.0, 1.0):
            assert in_the_majority(np.full((1, 1, 3, 4), colour), boundary).all()
        grey = np.full((1, 1, 3, 4), 0.5)
        assert not in_the_majority(grey, boundary).any()
        assert in_the_majority(grey, boundary, by_sign=True).all()


def test_a_circular_window_has_no_place_and_no_colour_of_its_own() -> None:
    """The majority commutes with circular shifts, and with black and white exchanged."""
    images = np.random.default_rng(1).choice([-1.0, 1.0], (3, 1, 6, 5))
    actual = in_the_majority(images, "circular")
    assert 0.2 < actual.mean() < 0.9
    np.testing.assert_array_equal(
        in_the_majority(np.roll(images, (2, 1), (2, 3)), "circular"), np.roll(actual, (2, 1), (2, 3))
    )
    np.testing.assert_array_equal(in_the_majority(-images, "circular"), actual)


@pytest.fixture
def measured() -> xr.Dataset:
    """Two samples of 4 x 4 pixels at each boundary and number of steps; share rises with the steps."""
    rng = np.random.default_rng(0)
    dims = ("boundary", "steps", "sample", "channel", "height", "width")
    images = rng.uniform(-1, 1, (2, 4, 2, 1, 4, 4))
    agree = rng.random(images.shape) < 0.7
    share = np.arange(16.0).reshape(2, 4, 2) / 20
    return xr.Dataset(
        {
            "image": (dims, images),
            "in_majority": (dims, agree),
            "share": (dims[:3], share),
            "share_by_sign": (dims[:3], share + 0.1),
        },
        {"boundary": ["circular", "zeros"], "steps": [5, 20, 100, 1000]},
    )


def target() -> Fig3:
    return Fig3(Study(ReproduceConfig(), Path("root")))


def test_its_steps_are_runs_of_every_boundary_and_number_of_steps() -> None:
    names = [step.name for step in target().steps()]
    assert names == [f"fig3: {boundary}-{steps}" for boundary in ("circular", "zeros") for steps in (5, 20, 100, 1000)]
    assert all(step.rests_on is None for step in target().steps())


def test_its_summary_says_mean_shares_in_percent(measured: xr.Dataset) -> None:
    """Of 0 and 1/20: 2.5 %; each number of steps has 10 % more."""
    circular, circular_by_sign, zeros, _ = target().summary(measured)
    assert re.findall(r"([0-9.]+) % at ([0-9]+)", circular) == [
        *(("2.5", "5"), ("12.5", "20"), ("22.5", "100"), ("32.5", "1000"))
    ]
    assert re.findall(r"([0-9.]+) %", circular_by_sign) == ["12.5", "22.5", "32.5", "42.5"]
    assert re.findall(r"([0-9.]+) %", zeros) == ["42.5", "52.5", "62.5", "72.5"]


def test_pixels_out_of_the_majority_are_drawn_orange_and_others_grey(measured: xr.Dataset) -> None:
    figure = target().draw(measured)
    check_readable(figure)
    axes = np.reshape(figure.axes, (2, 4))
    for (row, column), axis in np.ndenumerate(axes):
        cell = measured.isel(boundary=row, steps=column, sample=0, channel=0)
        agree = cell["in_majority"].values
        pixels = pixels_of(axis)
        np.testing.assert_allclose(pixels[agree], (cell["image"].values[agree][:, None] + 1) / 2 * np.ones(3))
        assert (pixels[~agree] == (0.9, 0.6, 0.0)).all()
