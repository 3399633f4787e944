"""Every command that takes a run takes it from a Zarr store as from a netCDF file, and gives the same."""

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
FEW = ("-o", "dataset.limit=30", "--steps", 2, "--samples", 2, "--scales", "3")


@pytest.fixture
def runs(invoke: Invoke) -> None:
    """The same run in both containers, and another from the same noise."""
    for name in ("a.nc", "a.zarr"):
        out = done(invoke("run", *FEW, "--out", name)).stdout
        assert out == f"{name}\n"
        Path("a.png").unlink()
    done(invoke("run", *FEW[:-2], "--scales", "5", "--init", "a.zarr", "--out", "b.zarr"))


def test_commands_give_the_same_of_both(invoke: Invoke, runs: None) -> None:
    def outcome(name: str) -> list[object]:
        told = json.loads(done(invoke("inspect", name, "--json")).stdout)
        for key in ("path", "created", "command_line"):
            told.pop(key)
        told["variables"] = dict(sorted(told["variables"].items()))
        compared = json.loads(done(invoke("compare", name, "b.zarr", "--json", "--overwrite", "--out", "c.nc")).stdout)
        done(invoke("plot", name, "flow", "--out", "flow.png", "--overwrite"))
        done(invoke("report", name, "--out", "page.html", "--overwrite"))
        done(invoke("run", *FEW[:-2], "--init", name, "--scales", name, "--out", "d.nc", "--overwrite"))
        with xr.open_dataset("d.nc") as follower:
            images = follower["image"].values.tobytes()
        return [told, compared["metrics"], Path("flow.png").read_bytes(), images]

    assert outcome("a.zarr") == outcome("a.nc")
    assert done(invoke("plot", "a.zarr", "scales")).stdout == "a-scales.png\n"


def test_a_store_is_resumed_and_not_overwritten_by_accident(invoke: Invoke, runs: None) -> None:
    refused(invoke("run", *FEW, "--out", "a.zarr"), 2, "a.zarr", "--overwrite")
    assert done(invoke("run", "--out", "a.zarr", "--resume")).stdout == "a.zarr\n"
    refused(invoke("run", "--steps", 3, "--out", "a.zarr", "--resume"), 2, "steps")
    done(invoke("run", *FEW, "--seed", 4, "--out", "a.zarr", "--overwrite"))
    assert json.loads(mosaic.open("a.zarr").attrs["configuration"])["seed"] == 4


def test_convert_copies_a_run_and_refuses_what_is_of_weights(invoke: Invoke, runs: None) -> None:
    refused(invoke("convert", "a.nc", "--dataset", "digits"), 2, "dataset", "a.nc")
    refused(invoke("convert", "a.nc", "-o", "network.padding=zeros"), 2, "option")
    refused(invoke("convert", "a.nc"), 2, "a.zarr", "--overwrite")
    assert done(invoke("convert", "b.zarr")).stdout == "b.nc\n"
    told = json.loads(done(invoke("convert", "b.nc", "--out", "e.zarr", "--json")).stdout)
    assert told == {"path": "e.zarr"}
    xr.testing.assert_identical(mosaic.open("e.zarr"), mosaic.open("b.zarr"))


def test_only_runs_are_stored_as_stores(invoke: Invoke, runs: None) -> None:
    refused(invoke("compare", "a.nc", "b.zarr", "--out", "c.zarr"), 2, "c.zarr", "only runs")
