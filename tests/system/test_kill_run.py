"""SIGKILL and Ctrl-C at a running process: what is on disk is readable, and resuming gives the same bytes.

Kills at every single moment of storing are in tests/storage/test_job.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from distributions import CLI

import mosaic

pytestmark = pytest.mark.system
SAMPLES = 24
SETTINGS: dict[str, Any] = {"sampler": "ddpm", "samples": SAMPLES, "batch_size": 1, "steps": 20}
RUN = [*CLI, "run", "-q", "--dataset", "digits", "-o", "dataset.limit=400", "--sampler", "ddpm"]
RUN += ["--samples", str(SAMPLES), "--batch-size", "1", "--steps", "20"]


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    """The run that nobody kills."""
    return mosaic.run("els", "digits", dataset_options={"limit": 400}, progress=False, **SETTINGS)


def finished_batches(folder: Path) -> list[Path]:
    """Files of finished batches; what is being written lies in a temporary folder beside them."""
    return list(folder.glob("*.parts/part-*.nc"))


def stored_batches(folder: Path) -> int:
    """Open every netCDF file that is finished there; give the number of finished batches."""
    for path in (*folder.glob("*.nc"), *finished_batches(folder)):
        with xr.open_dataset(path) as stored:
            stored.load()
    return len(finished_batches(folder))


def test_a_killed_run_is_readable_and_resumes_to_the_same_bytes(
    whole: xr.Dataset, tmp_path: Path, forking_python: str
) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, *RUN, "--out", "killed/run.nc"])
    while len(finished_batches(folder)) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 3 <= stored_batches(folder) < SAMPLES
    subprocess.run([forking_python, *RUN, "--out", "killed/run.nc", "--resume"], check=True)
    with xr.open_dataset("killed/run.nc") as resumed:
        for name in ("state", "denoised", "image", "seed"):
            assert whole[name].values.tobytes() == resumed[name].values.tobytes()
    assert sorted(path.name for path in folder.iterdir()) == ["run.nc", "run.png"]


def test_a_killed_run_in_a_store_resumes_to_the_same_bytes_with_the_chunks_that_were_finished(
    whole: xr.Dataset, tmp_path: Path, forking_python: str
) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, *RUN, "--out", "killed/run.zarr"])
    while len(finished_batches(folder)) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    count = stored_batches(folder)
    assert 3 <= count < SAMPLES
    states = folder / "run.zarr.parts" / "store.zarr" / "state"
    before = {number: (states / f"c.{number}.0.0.0.0").stat().st_mtime_ns for number in range(count)}
    subprocess.run([forking_python, *RUN, "--out", "killed/run.zarr", "--resume"], check=True)
    states = folder / "run.zarr" / "state"
    assert before == {number: (states / f"c.{number}.0.0.0.0").stat().st_mtime_ns for number in range(count)}
    with xr.open_zarr("killed/run.zarr", chunks=None) as resumed:
        for name in ("state", "denoised", "image", "seed"):
            assert whole[name].values.tobytes() == resumed[name].values.tobytes()
    assert sorted(path.name for path in folder.iterdir()) == ["run.png", "run.zarr"]


def test_an_interrupt_exits_130_and_prints_the_command_that_resumes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, *RUN, "--out", "a.nc"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells let background jobs ignore it
    )
    while not list(tmp_path.glob("a.nc.parts/part-*.nc")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stdout == ""
    assert "--out a.nc --resume" in stderr
    assert stored_batches(tmp_path) >= 1
