"""What a report shows of a run: pictures, packed arrays, steps, facts and training images."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from report_page import unpacked

import mosaic
from mosaic.view.report.contents import contents_of, packed, picture_of


def pixels_of(address: str) -> np.ndarray:
    head, _, data = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=4, samples=2, scales="3", labels=[2, -1], save_steps="all")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_a_packed_array_is_read_back_little_endian(dtype: str) -> None:
    values = np.array([[0, 1, 2], [100, 200, 255]], dtype)
    for array in (values, values[:, ::-1], values.T):
        assert unpacked(packed(array)).tolist() == array.ravel().tolist()
    kinds = {"uint8": "Uint8Array", "uint16": "Uint16Array", "int32": "Int32Array", "float32": "Float32Array"}
    assert packed(values)["type"] == kinds[dtype]


def test_a_type_that_javascript_has_no_array_for_is_an_error() -> None:
    with pytest.raises(KeyError, match="float64"):
        packed(np.zeros(2))


def test_a_picture_has_the_levels_of_the_image_clamped_to_its_range() -> None:
    grey = np.array([[[-3.0, -1.0, 0.0, 1.0, 2.0]]])
    assert pixels_of(picture_of(grey, -1, 1)).tolist() == [[0, 0, 128, 255, 255]]
    colour = np.stack([np.zeros((2, 3)), np.ones((2, 3)), np.full((2, 3), 0.2)])
    assert pixels_of(picture_of(colour, 0, 1)).tolist() == [[[0, 255, 51]] * 3] * 2


def test_films_have_states_above_denoised_images_from_noise_to_data(run: xr.Dataset) -> None:
    actual = contents_of(run, "a", [1], None, 10)
    film = pixels_of(actual["films"][0])
    assert film.shape == (2 * 6, 4 * 5)
    levels = ((run.isel(sample=1, channel=0) + 1) / 2 * 255).clip(0, 255).round()
    for step in range(4):
        for row, name in enumerate(("state", "denoised")):
            shown = film[6 * row : 6 * row + 6, 5 * step : 5 * step + 5]
            np.testing.assert_array_equal(shown, levels[name][step])
    np.testing.assert_array_equal(pixels_of(actual["finals"][0]), levels["image"])
    final = run["image"][1].values.ravel().clip(-1, 1)
    np.testing.assert_allclose(unpacked(actual["levels"][0]) / 65535 * 2 - 1, final, atol=2e-5)


def test_samples_labels_and_facts_are_the_runs(run: xr.Dataset) -> None:
    actual = contents_of(run, "mine", [1, 0], None, 10)
    assert (actual["name"], actual["title"]) == ("mine", "els on tiny")
    assert actual["shape"] == [1, 6, 5]
    assert (actual["samples"], actual["labels"]) == ([1, 0], ["", "c"])
    assert (actual["span"], actual["boundary"], actual["last_scale"]) == (2.0, "zeros", 3)
    assert actual["scales"] == [3] * 4
    facts = dict(actual["facts"])
    assert facts["steps"] == "4"
    assert facts["dataset_fingerprint"] == json.loads(run.attrs["dataset_fingerprint"])
    assert json.loads(json.dumps(actual)) == actual


def test_fewer_frames_keep_the_first_and_the_last_step(run: xr.Dataset) -> None:
    actual = contents_of(run, "a", [0], None, 2)
    assert actual["steps"] == [2, 4]
    assert actual["times"] == run["time"].values[[0, 3]].round(4).tolist()
    assert actual["provenance"]["kept"] == [0, 1]


def test_steps_that_are_kept_are_shown(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=60, samples=1, scales="3", save_steps="1,17,49")
    actual = contents_of(run, "run", [0], tiny, 20)
    assert actual["times"] == run["time"].values[[0, 1, 17, 49, 59]].round(4).tolist()
    assert actual["provenance"]["kept"] == [1, 2, 3]


def test_training_images_are_on_a_sheet_the_most_used_first(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    training = contents_of(run, "a", [0, 1], tiny, 10)["training"]
    images, counts = np.unique(run["source_image"].values, return_counts=True)
    assert training["places"][int(images[counts.argmax()])] == 0
    assert training["left_out"] == 0
    sheet = pixels_of(training["picture"])
    assert tiny.labels is not None
    for image, place in training["places"].items():
        row, column = divmod(place, training["columns"])
        shown = sheet[6 * row : 6 * row + 6, 5 * column : 5 * column + 5]
        np.testing.assert_array_equal(shown, ((tiny.images[image, 0].numpy() + 1) / 2 * 255).round())
        assert training["classes"][place] == "abc"[int(tiny.labels[image])]
