"""Streaming over blocks: neither their size nor the number of threads counts, and Ctrl-C ends it soon."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from analytic_machines import MACHINES, denoise, uniform
from built_kernel import ENGINES
from candidate_posteriors import noisy_case, posterior
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mosaic
from mosaic.engine.posterior import Posterior
from mosaic.engine.stream import _one_ahead, merged, shards_of, stream, tasks_of
from mosaic.errors import DataError

CASES = [
    (machine, boundary, k, engine)
    for machine, boundary, k in (
        ("ls", "zeros", 3), ("ls", "zeros", 9), ("ls", "circular", 5),
        ("els", "zeros", 1), ("els", "zeros", 3), ("els", "zeros", 7), ("els", "circular", 3), ("els", "valid", 3),
    )
    for engine in ENGINES
]  # fmt: skip
BLOCKS = 60


def counted(done: list[int], interrupt_at: int = -1) -> Any:
    def part(first: int, block: Tensor) -> Posterior:
        if first == interrupt_at:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.002)
        done.append(first)
        zero = torch.zeros(1, 1, 1, dtype=torch.float64)
        return Posterior(zero, zero + 1, zero[None] + first)

    return part


def total() -> float:
    """Sum over all blocks: that the pool works."""
    done: list[int] = []
    actual = stream(torch.zeros(BLOCKS, 1, 2, 2), 1, counted(done))
    assert sorted(done) == list(range(BLOCKS))
    return float(actual.mean() * actual.total)


@pytest.mark.usefixtures("_two_threads", "_interrupts")
def test_an_interrupt_leaves_out_the_blocks_not_started() -> None:
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        stream(torch.zeros(BLOCKS, 1, 2, 2), 1, counted(done, interrupt_at=5))
    assert 5 in done
    assert len(done) < BLOCKS / 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert total() == sum(range(BLOCKS))


@pytest.mark.usefixtures("_two_threads", "_interrupts")
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
        stream(torch.zeros(BLOCKS, 1, 2, 2), 1, counted(done))
    assert len(submitted) == BLOCKS
    assert len(done) < BLOCKS / 2


class Merging:
    """Stands in for a posterior, and tells how it was merged."""

    def __init__(self, tree: str, images: int) -> None:
        self.tree, self.images = tree, images

    def merge(self, other: Merging) -> Merging:
        return Merging(f"({self.tree} {other.tree})", self.images + other.images)


def leaves(shards: range) -> list[Any]:
    return [Merging(str(number), 1) for number in shards]


def test_shards_merge_in_pairs_and_what_is_left_from_the_right() -> None:
    trees = {count: merged(leaves(range(count))) for count in (1, 2, 3, 4, 5, 7)}
    assert {count: tree.tree for count, tree in trees.items()} == {  # type: ignore[attr-defined]
        1: "0",
        2: "(0 1)",
        3: "((0 1) 2)",
        4: "((0 1) (2 3))",
        5: "(((0 1) (2 3)) 4)",
        7: "(((0 1) (2 3)) ((4 5) 6))",
    }


@pytest.mark.parametrize("size", [1, 2, 4, 16])
def test_tasks_merge_as_all_shards_do(size: int) -> None:
    for count in range(1, 40):
        tasks = tasks_of(range(count), size)
        assert [number for task in tasks for number in task] == list(range(count))
        assert max(map(len, tasks)) <= size
        by_task: Any = merged([merged(leaves(task)) for task in tasks])
        whole: Any = merged(leaves(range(count)))
        assert by_task.tree == whole.tree


@MACHINES
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("diagnostics", [False, True])
def test_the_posteriors_of_tasks_merge_into_that_of_all_to_the_bit(
    machine: str, boundary: str | None, engine: str, diagnostics: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, images, level = noisy_case(1, 0.4, count=17)
    small = posterior(machine, boundary, x, images, level, 3, engine, diagnostics=True, block=2**9)
    monkeypatch.setattr("mosaic.engine.stream.SHARD", 2)
    how: dict[str, Any] = {"diagnostics": diagnostics, "block": 2**9}
    whole = posterior(machine, boundary, x, images, level, 3, engine, **how)
    torch.testing.assert_close(whole.mean(), small.mean(), rtol=0, atol=2e-6)
    assert len(shards_of(len(images))) == 9
    for size in (1, 4):
        parts = [
            posterior(machine, boundary, x, images, level, 3, engine, **how, shards=task)
            for task in tasks_of(shards_of(len(images)), size)
        ]
        for part, wanted in zip(merged(parts).parts().values(), whole.parts().values(), strict=True):
            assert torch.equal(part, wanted)


@pytest.fixture
def _interrupts() -> Any:
    """Python's own handler of Ctrl-C, also where the tests run in the background of a shell, which ignores it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def _two_threads() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


class CountOperations(TorchDispatchMode):
    """Counts tensor operations: another way of cutting is another number."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


@MACHINES
@pytest.mark.parametrize("noise", [0.6, 0.01])
def test_result_does_not_depend_on_how_the_training_set_is_cut(
    machine: str, boundary: str | None, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = uniform(0, 9, 1, 4, 3), np.array([0, 0, 0, 0, 1, 2, 1, 2, 2])
    images[4] = images[0]
    # The best candidates come early for one sample, late for another, and are off the data for the last;
    # with labels, whole blocks have no candidate for a sample.
    x = np.stack([images[0], images[8], images[5], 5 * images[3]])
    for wanted in (None, [2, 1, -1, 0]):
        results: list[np.ndarray] = []
        counts: list[int] = []
        for elements in (2**40, 64, 1):
            monkeypatch.setattr("mosaic.engine.compute.CPU_BLOCK", elements)
            with CountOperations() as operations:
                result = denoise(machine, boundary, x, images, (1.0, noise), 3, labels, wanted)
            results.append(result)
            counts.append(operations.count)
        assert counts[0] != counts[2]  # the constant does decide how the work is cut
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], rtol=0, atol=1e-12)


MEMORY_PROBE = """
import resource, sys
import torch
import mosaic

cls = mosaic.registry().get("score", "els")

def peak(count):
    images = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model = cls(cls.Options(boundary=sys.argv[1]), mosaic.DataSet(name="t", images=images))
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    model.denoise(x, mosaic.Level(0.8, 0.6), None, 5)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

print(peak(400), peak(1600))
"""


@pytest.mark.system
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_memory_does_not_grow_with_the_training_set(boundary: str | None) -> None:
    # All logits of one sample would be 1600 x 144^2 (zeros) or 256^2 (circular) floats: 0.13 or 0.4 GB.
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROBE, boundary],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    small, large = map(int, done.stdout.split())
    data = 1600 * 16 * 16 * 4
    assert large - small < 30e6 + data


@pytest.mark.parametrize(("machine", "boundary", "k", "engine"), CASES)
def test_no_engine_depends_on_the_number_of_threads(machine: str, boundary: str, k: int, engine: str) -> None:
    x, images, level = noisy_case(1, 0.4, 200)
    threads, actual = torch.get_num_threads(), []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            actual.append(posterior(machine, boundary, x, images, level, k, engine, block=2**12).mean())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(actual[0], other) for other in actual[1:])


@pytest.mark.parametrize("score", ["is", "es", "ls", "els"])
def test_numbers_do_not_depend_on_the_number_of_threads(score: str) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 1, 16, 16, generator=generator) * 2 - 1
    x = torch.randn(2, 1, 16, 16, generator=generator)
    model = mosaic.registry().get("score", score)(None, mosaic.DataSet("d", images))
    results, threads = [], torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(model.denoise(x, mosaic.Level(0.6, 0.8), None, 5))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_blocks_for_other_devices_are_read_one_ahead() -> None:
    """There is no other device here: what reads for it gives the blocks in order, each once, errors too."""
    read: list[int] = []

    def block(first: int) -> torch.Tensor:
        read.append(first)
        if first == 8:
            raise DataError("it is damaged")
        return torch.full((2,), float(first))

    given = _one_ahead(block, range(0, 8, 2))
    assert float(next(given)[0]) == 0
    assert [float(each[0]) for each in given] == [2, 4, 6]
    assert read == [0, 2, 4, 6]
    with pytest.raises(DataError):
        list(_one_ahead(block, range(6, 10, 2)))
