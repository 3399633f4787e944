"""Runs on real Dask processes: whatever is killed meanwhile, what is stored has the bits of a run without a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quick_processes")]

SETTINGS = [
    "--score",
    "els",
    "--dataset",
    "digits",
    "--samples",
    "24",
    "--batch-size",
    "2",
    "--steps",
    "60",
    "--scales",
    "5",
]
BATCHES = 12
CLI = ("-c", "from mosaic_cli.main import cli; cli()")


@contextmanager
def process(*arguments: Any, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the block."""
    command = [sys.executable, *map(str, arguments)]
    how: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True, **more}
    with subprocess.Popen(command, **how) as started:
        try:
            yield started
        finally:
            started.kill()


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
    return found


class Cluster:
    """A scheduler on a free port, and workers."""

    def __init__(self, stack: ExitStack, folder: Path, workers: int) -> None:
        self.file, self.stack = folder / "scheduler.json", stack
        arguments = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", self.file)
        self.scheduler = stack.enter_context(process("-m", "distributed.cli.dask_scheduler", *arguments))
        until(self.file.exists)
        self.address = until(self._address)
        self.workers = [self.add_worker() for _ in range(workers)]

    def _address(self) -> str:
        try:
            return str(json.loads(self.file.read_text())["address"])
        except ValueError:  # it is being written
            return ""

    def add_worker(self) -> subprocess.Popen[str]:
        arguments = (self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        return self.stack.enter_context(process("-m", "distributed.cli.dask_worker", *arguments, cwd=self.file.parent))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(stack, tmp_path, workers=2)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    path = tmp_path_factory.mktemp("wanted") / "run.nc"
    mosaic("run", *SETTINGS, "--out", path)
    return xr.open_dataset(path).load()


def mosaic(*arguments: Any, code: int = 0, cwd: Path | None = None) -> str:
    command = [sys.executable, *CLI, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, cwd=cwd)
    assert result.returncode == code, result.stderr
    return result.stderr


def assert_equal_bits(path: Path, wanted: xr.Dataset) -> None:
    with xr.open_dataset(path) as run:
        for name in wanted.variables:
            assert run[name].values.tobytes() == wanted[name].values.tobytes(), name


def finished(path: Path) -> int:
    return len(list(path.with_name(path.name + ".parts").glob("part-*.nc")))


def test_two_workers_give_the_bits_of_none(cluster: Cluster, wanted: xr.Dataset, tmp_path: Path) -> None:
    mosaic("run", *SETTINGS, "--scheduler", cluster.address, "--out", tmp_path / "run.nc")
    assert_equal_bits(tmp_path / "run.nc", wanted)


def test_workers_started_elsewhere_find_what_is_given_by_a_relative_path(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    np.save(folder / "images.npy", images)
    own = ("--dataset", "file", "-o", "dataset.path=images.npy", "--samples", "4", "--batch-size", "1", "--scales", "3")
    for options in ((), ("--scheduler", cluster.address, "--memory", "1G")):
        mosaic("run", *own, *options, "--out", f"run-{len(options)}.nc", cwd=folder)
    with xr.open_dataset(folder / "run-0.nc") as here:
        assert_equal_bits(folder / "run-4.nc", here)


def test_the_work_of_a_killed_worker_is_done_by_another(cluster: Cluster, wanted: xr.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run.nc"
    with process(*CLI, "run", *SETTINGS, "--scheduler", cluster.address, "--out", out) as run:
        until(lambda: finished(out) >= 2)
        cluster.workers[0].send_signal(signal.SIGKILL)
        assert finished(out) < BATCHES
        assert run.wait(400) == 0
    assert_equal_bits(out, wanted)


def test_a_killed_client_is_resumed(cluster: Cluster, wanted: xr.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run.nc"
    with process(*CLI, "run", *SETTINGS, "--scheduler", cluster.address, "--out", out) as run:
        until(lambda: finished(out) >= 2)
        run.send_signal(signal.SIGKILL)
        run.wait(60)
    assert 2 <= finished(out) < BATCHES
    mosaic("run", "--resume", "--scheduler", cluster.address, "--out", out)
    assert_equal_bits(out, wanted)


def test_a_lost_scheduler_is_one_sentence_and_finished_parts_are_kept(
    cluster: Cluster, wanted: xr.Dataset, tmp_path: Path
) -> None:
    out, said = tmp_path / "run.nc", tmp_path / "said"
    arguments = (*CLI, "run", *SETTINGS, "-q", "--scheduler", cluster.address, "--out", out)
    with said.open("w") as stderr, process(*arguments, stderr=stderr) as run:
        until(lambda: finished(out) >= 2)
        cluster.scheduler.send_signal(signal.SIGKILL)
        assert run.wait(120) == 1
    lines = said.read_text().splitlines()
    assert len(lines) == 1
    assert f"The scheduler at {cluster.address} is gone" in lines[0]
    assert "`resume`" in lines[0] or "--resume" in lines[0]
    assert 2 <= finished(out) < BATCHES
    environment = {key: value for key, value in os.environ.items() if key != "DASK_SCHEDULER_ADDRESS"}
    command = [sys.executable, *CLI, "run", "--resume", "--out", str(out)]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=400)
    assert_equal_bits(out, wanted)
