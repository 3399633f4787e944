"""What a report shows of a run: pictures, steps and facts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from report_page import pixels_of, shown_of

import mosaic


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=4, samples=2, scales="3", labels=[2, -1], save_steps="all")


def test_films_have_states_above_denoised_images_from_noise_to_data(run: xr.Dataset) -> None:
    actual = shown_of(run, [1], None, 10)
    film = pixels_of(actual["films"][0])
    assert film.shape == (2 * 6, 4 * 5)
    levels = ((run.isel(sample=1, channel=0) + 1) / 2 * 255).clip(0, 255).round()
    for step in range(4):
        for row, name in enumerate(("state", "denoised")):
            shown = film[6 * row : 6 * row + 6, 5 * step : 5 * step + 5]
            np.testing.assert_array_equal(shown, levels[name][step])
    np.testing.assert_array_equal(pixels_of(actual["finals"][0]), levels["image"])


def test_samples_labels_and_facts_are_the_runs(run: xr.Dataset) -> None:
    actual = shown_of(run, [1, 0], None, 10)
    assert (actual["name"], actual["title"]) == ("a", "els on tiny")
    assert actual["shape"] == [1, 6, 5]
    assert (actual["samples"], actual["labels"]) == ([1, 0], ["", "c"])
    assert (actual["span"], actual["boundary"], actual["last_scale"]) == (2.0, "zeros", 3)
    assert actual["scales"] == [3] * 4
    assert (actual["numbers"], actual["total"]) == ([1, 2, 3, 4], 4)
    facts = dict(actual["facts"])
    assert facts["steps"] == "4"
    assert facts["dataset_fingerprint"] == json.loads(run.attrs["dataset_fingerprint"])
    assert json.loads(json.dumps(actual)) == actual


def test_scales_are_those_of_all_steps_whatever_frames_are_shown(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=6, samples=1, scales="1,1,3,3,5,5")
    actual = shown_of(run, [0], None, 3)
    assert actual["course"] == {"numbers": [1, 2, 3, 4, 5, 6], "scales": [5, 5, 3, 3, 1, 1]}
    assert (len(actual["scales"]), actual["numbers"][0], actual["numbers"][-1]) == (3, 1, 6)


def test_the_only_step_that_is_kept_is_shown(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=60, samples=1, scales="3", save_steps="17")
    actual = shown_of(run, [0], tiny, 5)
    kept = actual["provenance"]["kept"]
    assert [actual["numbers"][frame] for frame in kept] == [18]
    without = shown_of(run.isel(step=[0, 59]), [0], tiny, 5)
    assert (without["provenance"]["kept"], without["provenance"]["steps"]) == ([], [])
    assert set(np.unique(run["source_image"]).tolist()) <= set(without["training"]["places"])


def test_fewer_frames_keep_the_first_and_the_last_step(run: xr.Dataset) -> None:
    actual = shown_of(run, [0], None, 2)
    assert actual["steps"] == [2, 4]
    assert actual["times"] == run["time"].values[[0, 3]].round(4).tolist()
    assert actual["provenance"]["kept"] == [0, 1]


def test_steps_that_are_kept_are_shown(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=60, samples=1, scales="3", save_steps="1,17,49")
    actual = shown_of(run, [0], tiny, 20)
    assert actual["times"] == run["time"].values[[0, 1, 17, 49, 59]].round(4).tolist()
    assert actual["provenance"]["kept"] == [1, 2, 3]


def test_scales_that_are_no_window_sizes_are_kept_to_two_digits(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("soft-els", tiny, steps=2, samples=1, scales="2.3456,4.5")
    actual = shown_of(run, [0], None, 3)
    assert (actual["scales"], actual["last_scale"]) == ([4.5, 2.35], 2.35)
