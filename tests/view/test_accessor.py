"""Questions to stored runs: `run.mosaic`, its doctests, and what runs keep to answer them."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from flooding import flooded
from reports import Reports

import mosaic
import mosaic.view.accessor


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=6, samples=3, scales="3", save_steps="all")


@pytest.mark.parametrize(
    "name", [name for name in dir(mosaic.view.accessor.MosaicAccessor) if not name.startswith("_")]
)
def test_the_example_of_every_verb(name: str) -> None:
    verb = getattr(mosaic.view.accessor.MosaicAccessor, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(verb, name, globs={})
    assert example.examples
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0


def test_sources_count_images_and_tiles(run: xr.Dataset) -> None:
    actual = run.mosaic.sources()
    source = run.mosaic.provenance()
    for sample in range(3):
        for which in ("all", "untied"):
            counts = actual.sel(pixels=which).isel(sample=sample)
            keep = np.ones((6, 5), bool) if which == "all" else source["multiplicity"].values[sample] == 1
            image, row, column = (source[f"source_{axis}"].values[sample] for axis in ("image", "row", "column"))
            assert int(counts["images"]) == len(set(image[keep].tolist()))
            sizes = flooded(np.where(keep, image, -1), row, column) or [0]
            assert counts["tile_size"].values[: len(sizes)].tolist() == sizes
            assert not counts["tile_size"].values[len(sizes) :].any()
            assert int(counts["largest_tile"]) == sizes[0]
            assert float(counts["pixel_share"]) == keep.mean()
            expected = np.bincount(image[keep]).max() / keep.sum() if keep.any() else np.nan
            np.testing.assert_equal(float(counts["largest_share"]), float(expected))


def test_the_mosaic_map_is_the_final_image(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, steps=200, samples=2, scales="3")
    for sample in range(2):
        rebuilt = run.mosaic.mosaic_map(sample, tiny)
        np.testing.assert_allclose(rebuilt, run.image.isel(sample=sample), rtol=0, atol=1e-2)


def test_a_pixel_is_decided_when_its_last_candidate_has_the_majority_for_good(run: xr.Dataset) -> None:
    actual = run.mosaic.collapse_time()
    names = ("image", "row", "column", "weight", "multiplicity")
    kept = np.stack([run[f"candidate_{name}"].values for name in names], -1)
    undecided = 0
    for place in np.ndindex(*actual.shape):
        steps = kept[place[0], :, place[1], place[2]]
        last = steps[-1]
        decided = [
            step[3] * max(step[4], 1) > 0.5 and ((step[:3] == last[:3]).all() or (step[4] > 1 and last[4] > 1))
            for step in steps
        ]
        start = next((step for step in range(len(steps)) if all(decided[step:])), None)
        undecided += start is None
        expected = np.nan if start is None else float(run["time"][start])
        np.testing.assert_equal(float(actual.values[place]), expected)
    assert 0 < undecided < actual.size


def test_what_is_measured_is_what_the_metrics_give(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    images = torch.from_numpy(run["image"].values)
    for name, options in (("memorized", {}), ("local_consistency", {"k": 3, "boundary": "zeros"})):
        kind = mosaic.registry().get("metric", name)
        expected = kind(kind.Options(**options), tiny)(images)
        np.testing.assert_array_equal(run.mosaic.measure(name, tiny), expected)
    distances, places = mosaic.nearest_images(images, tiny.images)
    reports = Reports()
    actual = run.mosaic.nearest_train(tiny, progress=reports)
    assert reports == [(0, 12, "image", "")]
    np.testing.assert_array_equal(actual["distance"], distances[:, 0])
    np.testing.assert_array_equal(actual["image"], places[:, 0])


def test_images_to_show_lie_between_0_and_1(run: xr.Dataset) -> None:
    shown = run.mosaic.to_images()
    assert shown.dims == ("sample", "height", "width", "channel")
    expected = np.clip((run["image"].values + 1) / 2, 0, 1)
    np.testing.assert_allclose(shown.transpose("sample", "channel", "height", "width"), expected)


def test_the_step_nearest_to_a_time(run: xr.Dataset) -> None:
    for t in (0.0, 0.4, 1.0):
        nearest = min(run["time"].values, key=lambda time: abs(time - t))
        assert float(run.mosaic.at_time(t)["time"]) == nearest


@pytest.mark.parametrize("verb", ["sources", "provenance", "collapse_time", "nearest_train", "measure", "to_images"])
def test_a_selected_sample_is_a_run_of_a_single_sample(tiny: mosaic.DataSet, verb: str) -> None:
    run = mosaic.run("els", tiny, steps=6, samples=3, scales="3", save_steps="all", labels="0,1,2")
    arguments = {
        "nearest_train": {"dataset": tiny},
        "measure": {"metric": "local_consistency", "dataset": tiny},
    }.get(verb, {})
    whole, single = (getattr(each.mosaic, verb)(**arguments) for each in (run, run.isel(sample=1)))
    expected = whole.isel(sample=[1])
    assert single.sizes["sample"] == 1
    for name in single.data_vars if isinstance(single, xr.Dataset) else [None]:
        actual, wanted = (each if name is None else each[name] for each in (single, expected))
        kept = actual.values if name != "tile_size" else np.trim_zeros(actual.values[0, 0], "b")
        np.testing.assert_array_equal(
            kept, wanted.values if name != "tile_size" else np.trim_zeros(wanted.values[0, 0], "b")
        )


def test_what_speaks_of_the_end_needs_the_whole_flow(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    for cut in (run.isel(step=slice(0, 3)), run.isel(step=slice(None, None, -1)), run.isel(step=2)):
        for verb in (
            lambda cut: cut.mosaic.collapse_time(),
            lambda cut: cut.mosaic.mosaic_map(0, tiny),
            lambda cut: cut.mosaic.measure("local_consistency", tiny),
        ):
            with pytest.raises(mosaic.DataError):
                verb(cut)
    with pytest.raises(mosaic.DataError):
        run.isel(step=2).mosaic.at_time(0.3)


def test_other_data_sets_are_not_taken_for_runs() -> None:
    for verb in ("sources", "to_images", "collapse_time"):
        with pytest.raises(mosaic.DataError):
            getattr(xr.Dataset({"a": 1}).mosaic, verb)()
    with pytest.raises(mosaic.DataError):
        xr.Dataset({"a": 1}).mosaic.measure("memorized")


def test_sources_whose_equals_were_not_counted_are_not_taken_for_ties(run: xr.Dataset) -> None:
    uncounted = run.assign(multiplicity=0 * run["multiplicity"])
    actual = uncounted.mosaic.sources()
    xr.testing.assert_equal(actual.sel(pixels="untied", drop=True), actual.sel(pixels="all", drop=True))


def test_sources_of_a_run_whose_columns_were_cut_are_refused(run: xr.Dataset) -> None:
    with pytest.raises(mosaic.DataError, match="columns were selected"):
        run.isel(width=slice(0, 2)).mosaic.sources()


@pytest.mark.parametrize("t", [-0.1, 1.5, float("nan")])
def test_times_beyond_noise_and_data_are_refused(t: float) -> None:
    with pytest.raises(mosaic.UsageError):
        mosaic.run("ls", "digits", steps=2, samples=1).mosaic.at_time(t)


@pytest.mark.parametrize(
    ("verb", "arguments", "named"),
    [
        ("mosaic_map", ("0",), "`sample`"),
        ("mosaic_map", (1.0,), "`sample`"),
        ("mosaic_map", (True,), "`sample`"),
        ("mosaic_map", ([0, 1],), "`sample`"),
        ("at_time", (None,), "`t`"),
        ("at_time", (np.array([0.1, 0.2]),), "`t`"),
        ("nearest_train", ("digits",), "`dataset`"),
        ("training_set", (3,), "`data_dir`"),
        ("training_set", ("",), "`data_dir`"),
        ("measure", (None,), "`metric`"),
    ],
)
def test_arguments_are_checked(run: xr.Dataset, verb: str, arguments: tuple[Any, ...], named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=named):
        getattr(run.mosaic, verb)(*arguments)


def test_numbers_of_arrays_are_numbers(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    assert (
        int(run.mosaic.at_time(run["time"][1])["step"]) == int(run.mosaic.at_time(float(run["time"][1]))["step"]) == 1
    )
    for sample in (np.int64(1), run["sample"][1], torch.tensor(1)):
        xr.testing.assert_equal(run.mosaic.mosaic_map(sample, tiny), run.mosaic.mosaic_map(1, tiny))
