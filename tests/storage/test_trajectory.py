"""Stored runs follow the schema."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import mosaic

VARIABLES = ("state", "denoised", "image")


def test_the_stored_run_follows_the_schema_and_opens_with_plain_xarray(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    mosaic.run(dataset=tiny, steps=5, samples=3, batch_size=2, labels=[0, 2, -1], out=tmp_path / "a.nc").close()
    with xr.open_dataset(tmp_path / "a.nc") as run:
        assert run["state"].dims == ("sample", "step", "channel", "height", "width")
        assert run["state"].shape == run["denoised"].shape == (3, 5, 1, 6, 5)
        assert run["image"].dims == ("sample", "channel", "height", "width")
        assert {run[name].dtype for name in VARIABLES} == {np.dtype("float32")}
        for name in ("time", "signal", "noise", "scale"):
            assert run[name].dims == ("step",)
        for name in ("seed", "label"):
            assert run[name].dims == ("sample",)
        assert run["time"].values.tolist() == [1.0, 0.8, 0.6, 0.4, 0.2]
        assert run["label"].values.tolist() == [0, 2, -1]
        assert all({"long_name", "units"} <= set(run[name].attrs) for name in run.variables)
        np.testing.assert_array_equal(run["image"], run["denoised"].isel(step=-1))
        assert run["state"].encoding["zlib"]
        assert run["state"].encoding["shuffle"]
        assert run["state"].encoding["chunksizes"] == (1, 5, 1, 6, 5)
        for name in ("created", "command_line", "plugins", "dataset_fingerprint", "torch_version", "device"):
            assert run.attrs[name]
        configuration = json.loads(run.attrs["configuration"])
        assert configuration["score_options"] == {
            "boundary": "zeros",
            "engine": "auto",
            "tolerance": 0.0,
            "order": 0,
        }
        assert run.attrs["dataset_fingerprint"] == json.dumps(tiny.fingerprint())


def test_open_refuses_what_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(mosaic.DataError):
        mosaic.open(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(mosaic.DataError):
        mosaic.open(tmp_path / "text.nc")
    xr.Dataset({"a": ("x", [1])}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(mosaic.DataError):
        mosaic.open(tmp_path / "other.nc")
