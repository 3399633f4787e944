"""What is needed of a run: found by name, or refused; of runs that were changed with xarray."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.storage.requirements import attribute_of, check_steps, known_values, require, setting_of
from mosaic.storage.schema import ESTIMATED, TABLES, TRAJECTORY_SCHEMA
from mosaic.view.entropy import draw_entropy
from mosaic.view.images import draw_flow, draw_images
from mosaic.view.provenance import draw_provenance
from mosaic.view.scales import draw_run_scales
from mosaic.view.sources import draw_sources


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    save = {"save": "provenance,entropy,n_eff,score", "save_steps": "all"}
    return mosaic.run("els", "digits", dataset_options={"limit": 20}, steps=3, samples=2, scales="3", **save)


@pytest.fixture(scope="module")
def digits(whole: xr.Dataset) -> mosaic.DataSet:
    dataset: mosaic.DataSet = whole.mosaic.training_set()
    return dataset


def with_values(run: xr.Dataset, name: str, values: Any) -> xr.Dataset:
    given = {name: (run[name].dims, np.broadcast_to(values, run[name].shape))}
    return run.assign_coords(given) if name in run.coords else run.assign(given)


def changes(run: xr.Dataset) -> dict[str, Callable[[], xr.Dataset]]:
    """Odd forms of a run."""
    made: dict[str, Callable[[], xr.Dataset]] = {
        "no samples": lambda: run.isel(sample=[]),
        "no steps": lambda: run.isel(step=[]),
        "no rows": lambda: run.isel(height=[]),
        "one step": lambda: run.isel(step=[2]),
        "a step": lambda: run.isel(step=2),
        "a sample": lambda: run.isel(sample=0),
        "a sample without its number": lambda: run.isel(sample=0, drop=True),
        "a channel": lambda: run.isel(channel=0),
        "backwards": lambda: run.isel(step=slice(None, None, -1)),
        "gaps": lambda: run.isel(step=[0, 2]),
        "cropped": lambda: run.isel(height=slice(3)),
        "nothing": lambda: xr.Dataset(),
    }
    for axis in run.dims:
        made[f"renamed {axis}"] = lambda axis=axis: run.rename({axis: f"{axis}s"})
    for name in run.variables:
        made[f"without {name}"] = lambda name=name: run.drop_vars(name)
        made[f"text {name}"] = lambda name=name: with_values(run, name, "x")
        made[f"NaN {name}"] = lambda name=name: with_values(run, name, np.nan)
        made[f"high {name}"] = lambda name=name: with_values(run, name, np.int16(10_000))
        made[f"negative {name}"] = lambda name=name: with_values(run, name, np.int16(-7))
    for name in ("configuration", "dataset_range", "dataset_classes", "dataset_fingerprint", "traits", "versions"):
        odd: tuple[Any, ...] = ("hello", "[1]", "null", "{}", 3, np.arange(2))
        for value in odd:
            made[f"{name} {value}"] = lambda name=name, value=value: run.assign_attrs({name: value})
        kept = {key: value for key, value in run.attrs.items() if key != name}
        made[f"without {name}"] = lambda kept=kept: run.drop_attrs(deep=False).assign_attrs(kept)
    for name in ("steps", "score_options", "dataset", "dataset_options"):
        odd_configuration = json.dumps({**json.loads(run.attrs["configuration"]), name: [1]})
        made[f"{name} odd"] = lambda text=odd_configuration: run.assign_attrs(configuration=text)
    return made


def uses(whole: xr.Dataset, digits: mosaic.DataSet) -> dict[str, Callable[[xr.Dataset], Any]]:
    """What a run is used for."""
    return {
        "to_images": lambda run: run.mosaic.to_images(),
        "at_time": lambda run: run.mosaic.at_time(0.4),
        "provenance": lambda run: run.mosaic.provenance(),
        "sources": lambda run: run.mosaic.sources(),
        "mosaic_map": lambda run: run.mosaic.mosaic_map(0, digits),
        "collapse_time": lambda run: run.mosaic.collapse_time(),
        "nearest_train": lambda run: run.mosaic.nearest_train(digits),
        "local": lambda run: run.mosaic.measure("local_consistency", digits),
        "memorized": lambda run: run.mosaic.measure("memorized", digits),
        "compare": lambda run: mosaic.compare(run, whole, metrics=["mse", "memorized"], dataset=digits, progress=False),
        "reference": lambda run: mosaic.compare(whole, run, metrics="mse", progress=False),
        "flow": lambda run: draw_flow(run, [0]),
        "images": draw_images,
        "pictures of provenance": lambda run: draw_provenance(run, [0], digits),
        "entropy": lambda run: draw_entropy(run, [0]),
        "pictures of sources": draw_sources,
        "scales": draw_run_scales,
        "report": lambda run: mosaic.report(run, dataset=digits),
    }


def answer(use: Callable[[xr.Dataset], Any], run: xr.Dataset) -> str:
    """What is said of a run that is not used; empty where it is used."""
    try:
        use(run)
    except mosaic.MosaicError as error:
        return str(error)
    return ""


# Every change with every use takes a minute.
@pytest.mark.parametrize("stride", [37, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::mosaic.MosaicWarning")
def test_a_changed_run_is_used_or_refused_in_a_sentence(whole: xr.Dataset, digits: mosaic.DataSet, stride: int) -> None:
    used = uses(whole, digits)
    assert not any(answer(use, whole) for use in used.values())
    pairs = list(product(changes(whole).values(), used.values()))
    messages = {answer(use, change()) for change, use in pairs[::stride]}
    assert len(messages) > 10
    assert all(not message or (message.endswith(".") and "\n" not in message) for message in messages)


@pytest.fixture(scope="module")
def estimated() -> xr.Dataset:
    settings = {"dataset_options": {"limit": 20}, "score_options": {"tolerance": 0.1}}
    return mosaic.run("els", "digits", steps=3, samples=2, scales="3", **settings)


@pytest.mark.parametrize("name", list(TABLES[TRAJECTORY_SCHEMA]))
def test_what_is_missing_or_odd_is_named(whole: xr.Dataset, estimated: xr.Dataset, name: str) -> None:
    whole = estimated if name in ESTIMATED else whole
    assert known_values(whole, name).dims == TABLES[TRAJECTORY_SCHEMA][name].dims
    for odd in (whole.drop_vars(name), with_values(whole, name, "x")):
        with pytest.raises(mosaic.DataError, match=f"reference.*'{name}'"):
            require(odd, [name], "reference")
    with pytest.raises(mosaic.DataError, match=f"'{name}'.*nan"):
        known_values(with_values(whole, name, np.nan), name)


def test_axes_go_by_their_names_and_numbers_by_their_values(whole: xr.Dataset) -> None:
    turned = whole.transpose("width", "step", "height", "sample", "channel")
    for name, kind in (
        ("state", np.float64),
        ("image", np.float64),
        ("label", np.float32),
        ("source_image", np.float64),
    ):
        odd = turned.assign_coords({name: turned[name].astype(kind)}) if name == "label" else turned.astype(kind)
        actual = known_values(odd, name)
        assert actual.dims == whole[name].dims
        np.testing.assert_array_equal(actual, whole[name])
        assert actual.dtype.kind == whole[name].dtype.kind
    integers = whole.assign(image=whole["image"].round().astype(np.int8))
    assert known_values(integers, "image").dtype == np.float64
    with pytest.raises(mosaic.DataError, match=r"'label'.*0\.5"):
        known_values(with_values(whole, "label", 0.5), "label")


def test_swapped_axes_are_turned_back(whole: xr.Dataset, digits: mosaic.DataSet, tmp_path: Any) -> None:
    pictures = {"flow", "images", "pictures of provenance", "pictures of sources", "entropy", "scales", "report"}
    used = {name: use for name, use in uses(whole, digits).items() if name not in pictures}
    own = whole.assign_coords(depth=("step", [0.1, 0.2, 0.3]))
    for number, swapped in enumerate(
        (
            whole.swap_dims(step="time"),
            whole.swap_dims(step="scale", sample="seed"),
            whole.swap_dims(sample="label"),
            own.swap_dims(step="depth"),
        )
    ):
        assert set(swapped.sizes) != set(whole.sizes)
        swapped.to_netcdf(tmp_path / f"{number}.nc")
        with mosaic.open(tmp_path / f"{number}.nc") as stored:
            assert stored.sizes == whole.sizes
            for run in (swapped, stored):
                assert not {name: message for name, use in used.items() if (message := answer(use, run))}
    assert not answer(lambda run: run.mosaic.sources(), whole.swap_dims(sample="seed").isel(seed=0))
    with pytest.raises(mosaic.DataError, match="'step'"):
        check_steps(whole.swap_dims(step="time").drop_vars("step"))


def test_the_file_is_named(whole: xr.Dataset, tmp_path: Any) -> None:
    whole.to_netcdf(tmp_path / "odd.nc")
    with mosaic.open(tmp_path / "odd.nc") as run, pytest.raises(mosaic.DataError, match=r"odd\.nc.*'time'"):
        run.drop_vars("time").mosaic.at_time(0.4)


def test_attributes_are_checked_when_they_are_read(whole: xr.Dataset) -> None:
    assert attribute_of(whole, "dataset_range") == (-1, 1)
    for odd in ("[1, -1]", "[1, 1]", "[NaN, 1]", '["-1", "1"]', "[0, 1, 2]", "{}", "x", 3):
        with pytest.raises(mosaic.DataError, match="'dataset_range'"):
            attribute_of(whole.assign_attrs(dataset_range=odd), "dataset_range")
    assert setting_of(whole, "steps") == 3
    for odd in ({}, {"steps": "3"}, {"steps": 0}, {"steps": True}):
        with pytest.raises(mosaic.DataError, match="'steps'"):
            setting_of(whole.assign_attrs(configuration=json.dumps(odd)), "steps")


def test_time_is_asked_of_whole_flows_only(whole: xr.Dataset) -> None:
    check_steps(whole, all_steps=True)
    check_steps(whole.isel(step=[0, 2]))
    for steps in ([0, 2], [1, 2], [0, 1, 2, 2]):
        with pytest.raises(mosaic.DataError):
            whole.isel(step=steps).mosaic.collapse_time()
    for odd in (whole.isel(step=[0, 1]), whole.isel(step=[2, 1, 0]), whole.drop_vars("step")):
        with pytest.raises(mosaic.DataError):
            check_steps(odd)
