"""Runs that are larger than the memory they may take: written, opened, drawn and compared within it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mosaic

pytestmark = pytest.mark.system

SAMPLES, STEPS, SHAPE = 1000, 20, (3, 32, 32)
TRAJECTORY = 2 * SAMPLES * STEPS * 3 * 32 * 32 * 4 / 2**20  # MiB of states and x0hat

MEASURED = """
import sys
import numpy as np
import mosaic
from mosaic.device import peak_bytes

out, samples = sys.argv[1], int(sys.argv[2])
data = mosaic.DataSet("toy", np.random.default_rng(0).uniform(-1, 1, (100, 3, 32, 32)).astype(np.float32))
settings = {"samples": samples, "steps": 20, "batch_size": 50, "progress": False}
run = mosaic.run("gaussian", data, **settings, out=out, memory="1G")
print(peak_bytes() / 2**20)
run.mosaic.plot.images()
run.mosaic.plot.flow([0, samples - 1])
run.mosaic.report(dataset=data, progress=False)
run.mosaic.measure("memorized", data)
print(peak_bytes() / 2**20)
"""


def peaks(out: Path, samples: int) -> list[float]:
    """Peak memory (MiB) of a process that makes a run, and after it has used it."""
    program = [sys.executable, "-W", "ignore", "-c", MEASURED, str(out), str(samples)]
    return [float(line) for line in subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()]


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_memory_does_not_grow_with_the_samples(tmp_path: Path, name: str) -> None:
    small, large = peaks(tmp_path / f"few-{name}", 100), peaks(tmp_path / name, SAMPLES)
    # Beside the program: the batch, and of a file what checks map of it, at either end.
    assert large[0] - small[0] < 0.4 * TRAJECTORY
    assert large[0] < 1024
    assert large[1] - small[1] < 0.4 * TRAJECTORY
    with mosaic.open(tmp_path / name) as run, mosaic.open(tmp_path / f"few-{name}") as few:
        assert run["state"].shape == (SAMPLES, STEPS, *SHAPE)
        np.testing.assert_array_equal(run["state"].isel(sample=slice(100)), few["state"])
