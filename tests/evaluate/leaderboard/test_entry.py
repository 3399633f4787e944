"""An entry of a leaderboard: its identity, and its scales along the network's flow."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from small_leaderboard import SETTINGS

import mosaic
from mosaic.storage.job import ConfigMismatch

# Every score model works in a process of its own.
pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quick_processes")]


def test_what_was_changed_in_place_is_noticed(network: Path, tmp_path: Path) -> None:
    own = tmp_path / "net"
    shutil.copytree(network, own)
    scales = tmp_path / "scales.json"
    scales.write_text('{"scales": [3, 5], "noise_to_signal": [0.1, 1.0]}')
    settings = {**SETTINGS, "scores": "els", "scales": str(scales)}
    mosaic.leaderboard(own, out=tmp_path / "board", **settings)
    scales.write_text('{"scales": [3, 7], "noise_to_signal": [0.1, 1.0]}')
    with pytest.raises(ConfigMismatch, match=r"facts\.scales"):
        mosaic.leaderboard(own, out=tmp_path / "board", **settings)
    scales.write_text('{"scales": [3, 5], "noise_to_signal": [0.1, 1.0]}')
    mosaic.leaderboard(own, out=tmp_path / "board", **settings)
    options = {"channels": 4, "blocks": 1, "padding": "circular"}
    mosaic.train(
        "resnet", "digits", out=own, overwrite=True, epochs=3, dataset_options={"limit": 40}, network_options=options
    )
    with pytest.raises(ConfigMismatch, match=r"facts\.checkpoint"):
        mosaic.leaderboard(own, out=tmp_path / "board", **settings)


def test_a_list_of_scales_serves_the_theories_and_is_looked_up_along_the_flow(
    board: Path, network: Path, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "scores": "els", "scales": "3,5,7"}
    mosaic.leaderboard(network, out=tmp_path / "list", **settings)
    with mosaic.open(tmp_path / "list" / "els.nc") as run:
        assert run["scale"].values.tolist() == [7, 5, 3]
    settings["scales"] = str(tmp_path / "list" / "els.nc")
    mosaic.leaderboard(network, out=tmp_path / "file", **settings)
    actual = [xr.load_dataset(tmp_path / name / "els-steps.nc")["denoised"] for name in ("list", "file")]
    np.testing.assert_array_equal(*actual)
    assert not np.array_equal(actual[0], xr.load_dataset(board / "els-steps.nc")["denoised"])
