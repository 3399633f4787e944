"""Devices, memory and processors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mosaic.device import interrupts_held, peak_bytes, physical_memory


@pytest.mark.parametrize(("limit", "least"), [("4096\n", 4096), ("max\n", 2**20), (None, 2**20)])
def test_a_container_has_no_more_memory_than_its_limit(
    limit: str | None, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.max"
    if limit is not None:
        path.write_text(limit)
    monkeypatch.setattr("mosaic.device.CONTAINER_LIMIT", path)
    actual = physical_memory()
    assert actual is not None
    assert actual == 4096 if least == 4096 else actual > least


def test_the_peak_on_a_gpu_is_that_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 7 if device.type == "cuda" else 0)
    assert peak_bytes(torch.device("cuda")) == 7


def test_the_peak_of_a_process_is_its_own() -> None:
    """Not that of a parent which is larger: getrusage would tell its."""
    ballast = torch.ones(2**27)  # 512 MiB
    command = [sys.executable, "-c", "from mosaic.device import peak_bytes; print(peak_bytes())"]
    output = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    own = peak_bytes()
    assert own is not None
    assert own > ballast.numel() * 4
    assert 2**26 < output < own - ballast.numel() * 3


@pytest.fixture
def _interrupts() -> Iterator[None]:
    """Python's own handler of Ctrl-C, also where the tests run in the background of a shell, which ignores it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize("times", [1, 3])
def test_interrupts_wait_for_the_end_of_a_block_however_many(times: int) -> None:
    heard: list[bool] = []

    def nested() -> None:
        with interrupts_held() as outer:
            with interrupts_held() as inner:
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)
                heard.append(inner())
            heard.append(outer())

    with pytest.raises(KeyboardInterrupt):
        nested()
    assert heard == [True, True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_interrupts")
def test_an_interrupt_is_not_lost_with_a_failure() -> None:
    def failing() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        failing()


def test_another_handler_of_interrupts_is_called_after_the_block() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            assert heard == []
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


FORKED = """
import os
from pathlib import Path
import mosaic
from mosaic.run.job import job_of
from mosaic.run.prepare import prepare

plan = prepare(mosaic.RunConfig(score="is", steps=1, samples=1), mosaic.DataAccess())
attempts = {
    "run": lambda: mosaic.run("is", "digits", steps=1, samples=1),
    "started": lambda: job_of(plan, Path("a.nc")).execute(),
    "train": lambda: mosaic.train("resnet", "digits", out="net"),
    "calibrate": lambda: mosaic.calibrate("net", "els", "digits"),
}
mosaic.run("els", "digits", steps=2, samples=2, progress=False)
for name, attempt in attempts.items():
    child = os.fork()
    if child == 0:
        try:
            attempt()
        except mosaic.MosaicError as error:
            print(name, type(error).__name__, "'spawn'" in str(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_work_in_a_process_forked_after_work_is_refused_before_it_hangs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKED]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    names = ("run", "started", "train", "calibrate")
    assert output.splitlines() == [f"{name} MosaicError True" for name in names]
    assert not list(tmp_path.iterdir())
