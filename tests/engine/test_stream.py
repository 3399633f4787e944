"""Streaming over tiles: Ctrl-C ends it soon, and leaves nothing that waits."""

from __future__ import annotations

import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from mosaic.engine.posterior import Posterior
from mosaic.engine.stream import stream

TILES = 60


def counted(done: list[int], interrupt_at: int = -1) -> Any:
    def part(first: int, tile: Tensor) -> Posterior:
        if first == interrupt_at:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.002)
        done.append(first)
        zero = torch.zeros(1, 1, 1, dtype=torch.float64)
        return Posterior(zero, zero + 1, zero[None] + first)

    return part


def total() -> float:
    """Sum over all tiles: that the pool works."""
    done: list[int] = []
    actual = stream(torch.zeros(TILES, 1, 2, 2), 1, counted(done))
    assert sorted(done) == list(range(TILES))
    return float(actual.mean() * actual.total)


@pytest.mark.usefixtures("_two_threads")
def test_an_interrupt_leaves_out_the_blocks_not_started() -> None:
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        stream(torch.zeros(TILES, 1, 2, 2), 1, counted(done, interrupt_at=5))
    assert 5 in done
    assert len(done) < TILES / 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert total() == sum(range(TILES))


@pytest.mark.usefixtures("_two_threads")
def test_an_interrupt_does_not_break_into_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[Any] = []

    class Pool(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **more: Any) -> Future[Any]:
            if len(submitted) == 3:
                signal.raise_signal(signal.SIGINT)
            future = super().submit(*arguments, **more)
            submitted.append(future)
            return future

    monkeypatch.setattr("mosaic.engine.stream.ThreadPoolExecutor", Pool)
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        stream(torch.zeros(TILES, 1, 2, 2), 1, counted(done))
    assert len(submitted) == TILES
    assert len(done) < TILES / 2


@pytest.fixture
def _two_threads() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
