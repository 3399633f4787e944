"""`mosaic inspect`: what a stored file or checkpoint holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
from click.testing import Result
from command_results import done, refused

import mosaic

Invoke = Callable[..., Result]


def test_inspect_prints_what_is_in_checkpoints_calibrations_and_comparisons(invoke: Invoke, checkpoint: Path) -> None:
    actual = json.loads(done(invoke("inspect", "--json", checkpoint)).stdout)
    assert (actual["configuration"]["network"], actual["receptive_field"], actual["progress"]["step"]) == (
        "resnet",
        7,
        2,
    )
    done(invoke("calibrate", "--checkpoint", checkpoint, "--samples", 1, "--steps", 2, "--sizes", "3,5"))
    actual = json.loads(done(invoke("inspect", "--json", "scales.nc")).stdout)
    assert (actual["ks"], actual["configuration"]["checkpoint"]) == ([3, 5], "net")
    for name in ("a", "b"):
        done(invoke("run", "-o", "dataset.limit=30", "--steps", 2, "--samples", 2, "--out", f"{name}.nc"))
    done(invoke("compare", "a.nc", "b.nc"))
    actual = json.loads(done(invoke("inspect", "--json", "comparison-001.nc")).stdout)
    assert actual["runs"]["run"]["title"] == "els on digits: reverse flow"
    assert json.loads(done(invoke("inspect", "--json", "net/loss.nc")).stdout)["dimensions"] == {"step": 2}
    assert "progress:" in done(invoke("inspect", "net")).stdout


def test_a_run_is_inspected_with_its_dimensions_labels_scales_and_decoded_attributes(
    invoke: Invoke, tiny: mosaic.DataSet
) -> None:
    mosaic.run("els", tiny, samples=2, steps=3, scales="3,3,5", labels=[2, -1], out="a.nc").close()
    document = json.loads(done(invoke("inspect", "--json", "a.nc")).stdout)
    assert document["path"] == "a.nc"
    assert document["dimensions"] == {"sample": 2, "step": 3, "channel": 1, "height": 6, "width": 5}
    assert document["labels"] == [2, -1]
    assert document["scales"] == [5, 3, 3]  # as stored, from noise to data
    assert document["configuration"]["steps"] == 3
    assert document["dataset_classes"] == ["a", "b", "c"]
    lines = done(invoke("inspect", "a.nc")).stdout.splitlines()
    assert "  sample: 2" in lines
    assert "dimensions:" in lines


def test_variables_of_few_values_are_shown_with_them(invoke: Invoke) -> None:
    few = {"loss": ("step", [0.5, 0.25]), "learning_rate": ("step", [1e-3, 1e-4])}
    many = {name: (dims, values * 3) for name, (dims, values) in few.items()}
    for name, variables in (("few", few), ("many", many)):
        xr.Dataset(variables, attrs={"schema": "mosaic-training/1"}).to_netcdf(f"{name}.nc")
    shown = json.loads(done(invoke("inspect", "--json", "few.nc")).stdout)["variables"]
    assert shown == {"loss": "0.5, 0.25", "learning_rate": "0.001, 0.0001"}
    assert json.loads(done(invoke("inspect", "--json", "many.nc")).stdout)["variables"]["loss"] == ""


def test_a_checkpoint_without_weights_has_no_progress(invoke: Invoke, checkpoint: Path) -> None:
    (checkpoint / "weights.safetensors").unlink()
    assert json.loads(done(invoke("inspect", "--json", checkpoint)).stdout)["progress"] is None


@pytest.mark.parametrize("name", ["folder", "other.nc"])
def test_what_is_not_of_mosaic_is_refused(invoke: Invoke, name: str) -> None:
    Path("folder").mkdir()
    xr.Dataset({"a": ("x", [1])}, attrs={"schema": "theirs/1"}).to_netcdf("other.nc")
    refused(invoke("inspect", name), 4, f"'{name}'")
