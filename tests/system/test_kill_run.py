"""kill -9 and Ctrl-C at random moments: what is on disk is readable, and resuming gives the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import xarray as xr

MOSAIC = [sys.executable, "-c", "from mosaic_cli.main import cli; cli(prog_name='mosaic')"]
RUN = [
    *MOSAIC,
    "run",
    "-q",
    "--dataset",
    "digits",
    "-o",
    "dataset.limit=400",
    "--sampler",
    "ddpm",
    "--samples",
    "40",
]
RUN += ["--batch-size", "1", "--steps", "20"]


def readable(folder: Path) -> int:
    """Open every netCDF file there; give the number of finished batches."""
    for path in folder.rglob("*.nc"):
        if path.is_file():
            with xr.open_dataset(path) as stored:
                stored.load()
    return len(list(folder.rglob("part-*.nc")))


def kill_after(folder: Path, batches: int, delay: float) -> None:
    """Start or resume the run, and kill it `delay` seconds after it has finished so many more batches."""
    before = len(list(folder.rglob("part-*.nc")))
    process = subprocess.Popen([*RUN, "--out", "killed/run.nc", "--resume"])
    while len(list(folder.rglob("part-*.nc"))) < before + batches:
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(delay)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_six_kills_at_random_moments_lose_nothing_finished(tmp_path: Path) -> None:
    subprocess.run([*RUN, "--out", "whole.nc"], check=True)
    moments, finished = random.Random(0), 0
    folder = tmp_path / "killed"
    folder.mkdir()
    for kill in range(6):
        # Twice during the start, else within a batch: a batch takes a few hundredths of a second.
        kill_after(folder, 0 if kill in (0, 3) else moments.randint(1, 3), moments.uniform(0, 0.05))
        now = readable(folder)
        assert now >= finished
        finished = now
    assert 8 <= finished < 40
    subprocess.run([*RUN, "--out", "killed/run.nc", "--resume"], check=True)
    with xr.open_dataset("whole.nc") as whole, xr.open_dataset("killed/run.nc") as resumed:
        for name in ("state", "denoised", "image", "seed"):
            assert whole[name].values.tobytes() == resumed[name].values.tobytes()
    assert sorted(path.name for path in folder.iterdir()) == ["run.nc", "run.png"]


def test_an_interrupt_exits_130_and_prints_the_command_that_goes_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*RUN, "--out", "a.nc"],
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
    assert readable(tmp_path) >= 1
