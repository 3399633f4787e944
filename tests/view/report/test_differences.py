"""How runs in one report differ: settings, and final images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from report_page import unpacked

import mosaic
from mosaic.view.report.differences import differences_of, settings_that_differ

SETTINGS = {"steps": 2, "samples": 3, "save": "none"}


@pytest.fixture
def first(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, scales="3", **SETTINGS)


def test_differences_are_those_of_the_final_images(tiny: mosaic.DataSet, first: xr.Dataset) -> None:
    other = mosaic.run("is", tiny, init=first, **SETTINGS)
    pair = [("a", first.isel(sample=[2, 0])), ("b", other.isel(sample=[2, 0]))]
    actual = differences_of(pair)
    (compared,) = actual["runs"]
    assert compared["reason"] is None
    expected = (other["image"].values - first["image"].values)[[2, 0], 0]
    assert compared["range"] == pytest.approx(abs(expected).max())
    for image, difference in zip(compared["images"], expected, strict=True):
        shown = unpacked(image) / 32767 * compared["range"]
        np.testing.assert_allclose(shown, difference.ravel(), atol=compared["range"] / 32767)
    np.testing.assert_allclose(compared["mean"], abs(expected).mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(compared["largest"], abs(expected).max((1, 2)), rtol=1e-6)
    agreement = mosaic.compare(other, first, metrics=["pearson_r"])["pearson_r"][0].values
    assert actual["metric"] == "pearson_r"
    assert compared["agreement"] == pytest.approx(agreement[[2, 0]].tolist())
    for (_, run), levels in zip(pair, actual["levels"], strict=True):
        for sample, level in enumerate(levels):
            final = run["image"].values[sample].ravel().clip(-1, 1)
            np.testing.assert_allclose(unpacked(level) / 65535 * 2 - 1, final, atol=2e-5)


def test_of_several_channels_the_one_that_differs_most_is_shown() -> None:
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    dataset = mosaic.DataSet("colour", images)
    first = mosaic.run("is", dataset, steps=1, samples=1, save="none")
    changed = first["image"].values.copy()
    changed[0, :, 1, 2] += [0.1, -0.5, 0.2]
    changed[0, :, 4, 0] += [0.0, 0.1, 0.25]
    (compared,) = differences_of([("a", first), ("b", first.assign(image=first["image"].copy(data=changed)))])["runs"]
    shown = unpacked(compared["images"][0]).reshape(5, 5) / 32767 * compared["range"]
    expected = np.zeros((5, 5))
    expected[1, 2], expected[4, 0] = -0.5, 0.25
    np.testing.assert_allclose(shown, expected, atol=1e-4)


def test_equal_runs_have_no_difference(first: xr.Dataset) -> None:
    (compared,) = differences_of([("a", first), ("b", first)])["runs"]
    assert (compared["range"], compared["largest"], compared["agreement"]) == (0.0, [0.0] * 3, pytest.approx([1.0] * 3))
    assert not unpacked(compared["images"][0]).any()


def test_runs_of_other_noise_or_without_their_start_are_not_compared(tiny: mosaic.DataSet, first: xr.Dataset) -> None:
    other = mosaic.run("els", tiny, scales="3", seed=5, **SETTINGS)
    actual = differences_of([("a", first), ("b", other), ("c", first.isel(step=[1])), ("d", first)])["runs"]
    assert "'b'" in actual[0]["reason"]
    assert "3 of 3" in actual[0]["reason"]
    assert "'c'" in actual[1]["reason"]
    assert all("images" not in compared for compared in actual[:2])
    assert actual[2]["reason"] is None


def test_settings_that_differ_are_named_with_the_value_of_each_run(tiny: mosaic.DataSet, first: xr.Dataset) -> None:
    other = mosaic.run("els", tiny, scales="3,5", seed=5, score_options={"boundary": "circular"}, **SETTINGS)
    actual = dict(settings_that_differ([first, other, first]))
    assert actual["seed"] == ["0", "5", "0"]
    assert actual["score.boundary"] == ["zeros", "circular", "zeros"]
    assert actual["scales of the steps"] == ["3 (2 steps)", "5, 3", "3 (2 steps)"]
    assert "steps" not in actual
    assert settings_that_differ([first, first]) == []
    assert settings_that_differ([first]) == []


def test_options_that_a_score_does_not_have_are_left_blank(tiny: mosaic.DataSet, first: xr.Dataset) -> None:
    other = mosaic.run("gaussian", tiny, **SETTINGS)
    actual = dict(settings_that_differ([first, other]))
    assert actual["score"] == ["els", "gaussian"]
    assert actual["score.boundary"] == ["zeros", ""]
    assert actual["scales of the steps"] == ["3 (2 steps)", "none"]
