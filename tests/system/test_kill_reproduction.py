"""A reproduction that is killed: nothing is lost but the step in flight."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from distributions import CLI

pytestmark = pytest.mark.system

SMALL = ["--rows", "mnist-resnet-zeros", "--dataset", "digits", "-o", "dataset.limit=30", "-o", "network.channels=4"]
SMALL += ["-o", "network.blocks=1", "--epochs", "2", "--calibration-samples", "2"]


def test_a_kill_loses_only_the_step_in_flight(tmp_path: Path, forking_python: str) -> None:
    command = [*CLI, "reproduce", "-q", "table2", *SMALL, "--samples", "24"]
    subprocess.run([forking_python, *command, "--out", "whole"], check=True, stdout=subprocess.DEVNULL)
    row = tmp_path / "killed" / "cpu" / "mnist-resnet-zeros"
    for moment in (row / "network" / "weights.safetensors", row / "network.nc", row / "els.nc.parts" / "part-00000.nc"):
        process = subprocess.Popen([sys.executable, *command, "--out", "killed"], stdout=subprocess.DEVNULL)
        while not moment.exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed" / "cpu" / "table2.nc").exists()
    finished = {path: path.stat().st_mtime_ns for path in (*row.glob("*.nc"), *row.glob("network/*.safetensors"))}
    assert {"scales.nc", "network.nc", "weights.safetensors"} <= {path.name for path in finished}
    subprocess.run([forking_python, *command, "--out", "killed"], check=True, stdout=subprocess.DEVNULL)
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    with xr.open_dataset("whole/cpu/table2.nc") as whole, xr.open_dataset("killed/cpu/table2.nc") as killed:
        xr.testing.assert_equal(whole.drop_attrs(), killed.drop_attrs())
    assert not list((tmp_path / "killed").rglob("*.parts"))
    assert not list((tmp_path / "killed").rglob("*.tmp"))
