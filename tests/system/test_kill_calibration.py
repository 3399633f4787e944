"""SIGKILL at a calibration: its finished batches are used again, and the table is the same."""

from __future__ import annotations

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
CALIBRATE = [
    *CLI,
    "calibrate",
    "-q",
    "--checkpoint",
    "net",
    "--samples",
    "24",
    "--batch-size",
    "1",
    "--sizes",
    "3-7",
]


def test_a_killed_calibration_resumes_to_the_same_table(tmp_path: Path, forking_python: str) -> None:
    options = {"channels": 4, "blocks": 1}
    mosaic.train("resnet", "digits", out="net", epochs=2, dataset_options={"limit": 400}, network_options=options)
    subprocess.run([forking_python, *CALIBRATE, "--out", "whole.nc"], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([sys.executable, *CALIBRATE, "--out", "killed.nc"], stdout=subprocess.DEVNULL)
    parts = tmp_path / "killed.nc.parts"
    while len(list(parts.glob("part-*.nc"))) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in parts.glob("part-*.nc")}
    assert 3 <= len(finished) < 24
    command = [forking_python, *CALIBRATE, "--out", "killed.nc", "--resume"]
    resumed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while len(list(parts.glob("part-*.nc"))) == len(finished):
        assert resumed.poll() is None
        time.sleep(0.002)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert resumed.wait() == 0
    with xr.open_dataset("whole.nc") as whole, xr.open_dataset("killed.nc") as killed:
        xr.testing.assert_identical(whole.drop_attrs(), killed.drop_attrs())
    assert not parts.exists()
