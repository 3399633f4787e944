"""SIGKILL at a leaderboard: the same command makes what is missing, and the table is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from distributions import CLI

import mosaic

pytestmark = pytest.mark.system
LEADERBOARD = [*CLI, "leaderboard", "-q", "--checkpoint", "net", "--scores", "els", "--samples", "24"]
LEADERBOARD += ["--steps", "20", "--network-steps", "30"]
MEASURED = ["seconds", "seconds_per_step", "peak_bytes"]  # of the processes, not of the numbers


def test_a_killed_entry_is_finished_and_the_table_is_the_same(tmp_path: Path, forking_python: str) -> None:
    options = {"channels": 4, "blocks": 1}
    mosaic.train("resnet", "digits", out="net", epochs=2, dataset_options={"limit": 400}, network_options=options)
    subprocess.run([forking_python, *LEADERBOARD, "--out", "whole"], check=True, stdout=subprocess.DEVNULL)
    killed = tmp_path / "killed"
    for moment in (killed / "network.nc.parts" / "part-00000.nc", killed / "els.nc.parts" / "part-00000.nc"):
        command = [sys.executable, *LEADERBOARD, "--out", "killed"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        while not moment.exists():
            assert process.poll() is None
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)  # the entry has a process of its own, in the same group
        process.wait()
        assert not (killed / "leaderboard.nc").exists()
    finished = {path: path.stat().st_mtime_ns for path in killed.glob("*.nc")}
    assert {"network.nc", "network-steps.nc"} <= {path.name for path in finished}
    subprocess.run([forking_python, *LEADERBOARD, "--out", "killed"], check=True, stdout=subprocess.DEVNULL)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    with xr.open_dataset("whole/leaderboard.nc") as whole, xr.open_dataset("killed/leaderboard.nc") as resumed:
        xr.testing.assert_identical(*(table.drop_vars(MEASURED).drop_attrs() for table in (whole, resumed)))
    assert not list(killed.glob("*.parts"))
    assert not list(killed.glob("*.tmp"))
