"""What a report shows of sources: tiles and their map, and the training images spoken of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from report_page import pixels_of, shown_of, unpacked

import mosaic
from mosaic.view.colours import tile_colours


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=4, samples=2, scales="3", labels=[2, -1], save_steps="all")


def test_training_images_are_on_a_sheet(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    training = shown_of(run, [0, 1], tiny, 10)["training"]
    assert training["left_out"] == 0
    assert {int(index) for index in np.unique(run["source_image"])} <= set(training["places"])
    sheet = pixels_of(training["picture"])
    assert tiny.labels is not None
    for image, place in training["places"].items():
        row, column = divmod(place, training["columns"])
        shown = sheet[6 * row : 6 * row + 6, 5 * column : 5 * column + 5]
        np.testing.assert_array_equal(shown, ((tiny.images[image, 0].numpy() + 1) / 2 * 255).round())
        assert training["classes"][place] == "abc"[int(tiny.labels[image])]
        assert training["names"][place] == f"#{image}"


@pytest.mark.parametrize("score", ["els", "gaussian"])  # with provenance, and without
def test_the_nearest_training_image_to_each_sample_is_the_first_on_the_sheet(tiny: mosaic.DataSet, score: str) -> None:
    run = mosaic.run(score, tiny, steps=3, samples=3)
    training = shown_of(run, [2, 0], tiny, 10)["training"]
    for place, sample in enumerate((2, 0)):
        distances = np.sqrt(((tiny.images.double().numpy() - run["image"].values[sample]) ** 2).sum((1, 2, 3)))
        nearest = training["nearest"][place]
        assert nearest["image"] == distances.argmin()
        assert nearest["distance"] == pytest.approx(distances.min())
        assert training["places"][nearest["image"]] <= place


def test_what_there_is_no_room_for_is_left_out_the_least_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.view.report.sources.TRAINING_BYTES", 3 * 16)
    images = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    dataset = mosaic.DataSet("random", images, range=(0, 1))
    run = mosaic.run("els", dataset, steps=1, samples=1, scales="3")
    training = shown_of(run, [0], dataset, 1)["training"]
    used, counts = np.unique(run["source_image"].values, return_counts=True)
    known = {int(training["nearest"][0]["image"]), *used.tolist(), *np.unique(run["candidate_image"]).tolist()}
    assert len(training["places"]) == 3
    assert training["left_out"] == len(known) - 3
    assert int(used[counts.argmax()]) in training["places"]


def test_tiles_and_their_map_are_of_pixels_whose_source_has_no_equals(run: xr.Dataset) -> None:
    actual = shown_of(run, [1, 0], None, 10)["provenance"]["last"]
    counted = run.mosaic.sources().sel(pixels="untied")
    for shown, sample in zip(actual, (1, 0), strict=True):
        source = run.isel(sample=sample)
        tied = source["multiplicity"].values.ravel() > 1
        tiles = unpacked(shown["tile"])
        assert ((tiles < 0) == tied).all()
        sizes = sorted(np.bincount(tiles[tiles >= 0]), reverse=True)
        assert sizes == [size for size in counted["tile_size"].values[sample] if size]
        assert (shown["tiles"], shown["images"]) == (len(sizes), int(counted["images"][sample]))
        assert shown["untied"] == pytest.approx(float(counted["pixel_share"][sample]))
        colours, _ = tile_colours(source["source_image"].values, source["multiplicity"].values)
        np.testing.assert_array_equal(pixels_of(shown["map"]), (colours * 255).round())


def test_an_image_whose_sources_all_have_equals_has_no_tile() -> None:
    """A data set of one blank image twice."""
    dataset = mosaic.DataSet("blank", torch.zeros(2, 1, 4, 4), range=(0, 1))
    run = mosaic.run("els", dataset, steps=1, samples=1, scales="3")
    (shown,) = shown_of(run, [0], dataset, 1)["provenance"]["last"]
    assert (shown["tiles"], shown["images"], shown["untied"]) == (0, 0, 0.0)
    assert set(unpacked(shown["tile"])) == {-1}
