"""What a Dask cluster of processes on this machine costs, and how runs scale on it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mosaic.interfaces.data_source import DataAccess
from mosaic.run.cluster import connected, dask_distributed, local_cluster
from mosaic.run.config import RunConfig
from mosaic.run.job import job_of
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.scaling import forecast

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["cluster_costs", "run_on_workers"]

SENT, RECEIVED = 2**14, 2**16  # bytes of a task of shards at 32 x 32 x 3, about: what it is told and what it gives
TASKS, CALLS, LARGE = 500, 50, 2**26
COUNTERS = Path("/proc/net/dev")


def cluster_costs(workers: int, repeats: int) -> dict[str, Any]:
    """Measure what tasks cost that compute nothing.

    Returns
    -------
    dict
        `seconds` of `TASKS` tasks at once (`repeats` times), `task_seconds` of one of these, `call_seconds` from a call
        to its result where nothing else is to do, and `bytes_per_second` of large results.
    """
    with _cluster(workers) as client:
        _many(client, TASKS)
        seconds = [_timed(lambda: _many(client, TASKS)) for _ in range(repeats)]
        calls = [_timed(lambda: _many(client, 1)) for _ in range(CALLS)]
        received = [_timed(lambda: client.submit(_answer, b"", LARGE, pure=False).result()) for _ in range(repeats)]
    return {
        "seconds": seconds,
        "task_seconds": statistics.median(seconds) / TASKS,
        "call_seconds": statistics.median(calls),
        "bytes_per_second": LARGE / statistics.median(received),
    }


def run_on_workers(dataset: Mapping[str, Any], samples: int, scale: int, workers: int, repeats: int) -> dict[str, Any]:
    """Measure two steps of ELS, batches of one sample, on workers of one thread; without a cluster for 0 workers.

    Parameters
    ----------
    dataset : mapping
        Settings of a run that name it, and `data_dir`.

    Returns
    -------
    dict
        `seconds` of each repetition. With workers also `tasks` and `bytes` of a step: the bytes are all that passed the
        loopback device in both directions, None where it is not counted; and `forecast`, what `forecast` makes of the
        time of one thread, which is measured before.
    """
    torch.set_num_threads(1)
    settings = {**dataset, "score": "els", "samples": samples, "batch_size": 1, "steps": 2, "scales": str(scale)}
    data_dir = settings.pop("data_dir", None)

    def plan_of() -> Plan:
        return prepare(RunConfig(**settings, device="cpu", save="none"), DataAccess(data_dir and Path(data_dir), False))

    plan = plan_of()
    alone = _timed(lambda: job_of(plan, Path()).compute())
    if workers == 0:
        return {"seconds": [_timed(lambda: job_of(plan, Path()).compute()) for _ in range(repeats)]}
    with _cluster(workers) as client, connected(client):
        job_of(plan, Path()).compute()  # workers read the data, and load the kernel
        tasks, before = client.tasks, _loopback()
        seconds = [_timed(lambda: job_of(plan, Path()).compute()) for _ in range(repeats)]
        after, steps = _loopback(), repeats * len(plan.levels)
        return {
            "seconds": seconds,
            "tasks": (client.tasks - tasks) / steps,
            "bytes": None if before is None or after is None else (after - before) / steps,
            "forecast": forecast(plan, alone, workers),
        }


@contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    class Counting(dask_distributed().Client):  # type: ignore[misc]
        tasks = 0

        def submit(self, *arguments: Any, **options: Any) -> Any:
            self.tasks += 1
            return super().submit(*arguments, **options)

    with local_cluster(workers, threads=1) as cluster, Counting(cluster) as client:
        yield client


def _many(client: Client, count: int) -> None:
    futures = [client.submit(_answer, bytes(SENT), RECEIVED, pure=False) for _ in range(count)]
    for future in futures:
        future.result()


def _answer(sent: bytes, size: int) -> bytes:
    return bytes(size)


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _loopback() -> int | None:
    """Bytes that this machine has sent itself; None where the system does not count them."""
    lines = COUNTERS.read_text().splitlines() if COUNTERS.exists() else []
    return next((int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:")), None)
