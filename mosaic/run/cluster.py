"""Jobs on a Dask cluster: their parts, or the shards of their training images, are computed by its workers.

This process makes the plan, keeps the result and holds its lock. Workers are told by a recipe how to make the same job.
They open the data themselves, and refuse what differs in anything that decides the numbers. So the bits are those of a
run on one machine. A task is idempotent: what a lost worker had in hand is computed by another one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import xarray as xr
from torch import Tensor

from mosaic.engine.distribute import distributing
from mosaic.engine.posterior import Posterior
from mosaic.engine.stream import shards_of, tasks_of
from mosaic.errors import UsageError, warn_of
from mosaic.progress import Progress
from mosaic.run.scaling import takes_shards, task_size
from mosaic.run.worker import MIXED_WORKERS, compute_part, compute_shards, here, short
from mosaic.storage.executor import Recipe, WorkersLost, executing
from mosaic.storage.job import FileJob

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

__all__ = ["ClientLike", "Cluster", "connected", "dask_distributed", "local_cluster", "scheduler_in_use"]

ClientLike = Any
"""A distributed.Client, the address of a scheduler, local:N, or None."""

LOCAL = "local:"
TIMEOUT = 10  # seconds to reach a scheduler
WATCH = 1.0  # seconds between two looks at whether the scheduler is still there
IN_FLIGHT = 2  # parts for each worker that are not collected yet, at most: memory does not grow with their number


_CLUSTER: ContextVar[Cluster | None] = ContextVar("cluster", default=None)


@contextmanager
def connected(client: ClientLike) -> Iterator[None]:
    """Compute the jobs of this context on a cluster.

    Parameters
    ----------
    client : distributed.Client, str or None
        A client; the address of a scheduler; `local:N` for N processes on this machine, which end with the context; or
        None for the client that is Dask's default, where there is one, else for this process alone.

    Raises
    ------
    UsageError
        If there is no scheduler at the address, or Dask is not installed.
    """
    with ExitStack() as stack:
        if isinstance(client, str):
            client = stack.enter_context(_client_of(client))
        client = client or _default_client()
        if client is not None:
            cluster = Cluster(client)
            stack.callback(_CLUSTER.reset, _CLUSTER.set(cluster))
            stack.enter_context(executing(cluster))
            stack.enter_context(distributing(cluster))
        yield


def scheduler_in_use() -> str | None:
    """Address of the scheduler that computes the jobs of this context; None where this process does.

    None, too, where another process could not reach it: workers that are threads of this one, and clients with keys.
    """
    cluster = _CLUSTER.get()
    return cluster.address if cluster is not None and cluster.address.startswith("tcp://") else None


def _default_client() -> Client | None:
    """Dask's default client; None where there is none. Dask is not imported to ask."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def dask_distributed() -> Any:
    """The module `distributed` of Dask.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        import distributed
    except ImportError:
        raise UsageError(
            "Dask is not installed; `pip install 'mosaic-diffusion[dask]'`, or leave out the scheduler."
        ) from None
    return distributed


def local_cluster(workers: int, threads: int) -> LocalCluster:
    """Start a scheduler and worker processes on this machine, each with so many threads."""
    return dask_distributed().LocalCluster(
        n_workers=workers, threads_per_worker=threads, memory_limit=0, dashboard_address=":0", silence_logs=50
    )


@contextmanager
def _client_of(scheduler: str) -> Iterator[Client]:
    with ExitStack() as stack:
        stack.enter_context(_quiet("distributed", "distributed.client"))
        address: Any = scheduler
        if scheduler.startswith(LOCAL):
            count = scheduler.removeprefix(LOCAL)
            if not count.isdecimal() or int(count) < 1:
                raise UsageError(f"The scheduler '{scheduler}' is no cluster; write {LOCAL}N, such as {LOCAL}2.")
            try:
                threads = max(1, (os.cpu_count() or 1) // int(count))
                address = stack.enter_context(local_cluster(int(count), threads))
            except RuntimeError:
                raise UsageError(
                    f"The processes of '{scheduler}' did not start; in a script, call mosaic below "
                    "`if __name__ == '__main__':`, as each of them imports it."
                ) from None
        try:
            client = stack.enter_context(dask_distributed().Client(address, timeout=TIMEOUT, set_as_default=False))
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise UsageError(
                f"There is no scheduler at '{scheduler}' ({reason}), which `scheduler` or DASK_SCHEDULER_ADDRESS "
                f"names; start one with `dask scheduler`, or use {LOCAL}N."
            ) from None
        yield client


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let loggers say nothing: what a lost scheduler means for a job is said in one sentence."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Cluster:
    """Computes jobs with the workers of a Dask client.

    A job's parts are tasks where there are at least as many as workers, or as shards of its training images. Otherwise
    this process computes the parts, and the workers compare the shards. Mixed workers compute parts only.

    Attributes
    ----------
    client : distributed.Client
    address : str
        Of its scheduler.
    is_mixed : bool
        Whether the workers may have other builds of the engine, and other processors; a result then names them.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.address = client.scheduler.address if client.scheduler is not None else "?"
        self.is_mixed = os.environ.get(MIXED_WORKERS, "") not in ("", "0")
        self._job: FileJob | None = None
        self._count, self._counted = 0, -WATCH
        self._noted: set[str] = set()

    def workers(self) -> int:
        """How many workers there are, or were a moment ago; at least one is waited for.

        Raises
        ------
        WorkersLost
            If there is none after a while.
        """
        if time.monotonic() - self._counted < WATCH:
            return self._count
        with self._watched():
            try:
                self.client.wait_for_workers(1, timeout=TIMEOUT)
            except TimeoutError:
                if not self._is_there():
                    raise self._gone() from None
                raise WorkersLost(
                    f"The scheduler at {self.address} has no workers; start some with `dask worker {self.address}`."
                ) from None
            self._count = max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))
            self._counted = time.monotonic()
            return self._count

    def computed(
        self, job: FileJob, numbers: Sequence[int], progress: Progress
    ) -> Iterator[tuple[int, xr.Dataset]] | None:
        """Compute parts of a job, as they finish; None where this process is to compute them, with shards or without.

        `progress` is called with the work of the whole job.
        """
        self._job = None
        if job.recipe is None:
            if job.what not in self._noted:
                self._noted.add(job.what)
                warn_of([f"The cluster is not used for {job.what}, which other processes cannot make by names alone."])
            return None
        images = 0 if job.recipe.images is None else len(job.recipe.images)
        if not self.is_mixed and takes_shards(len(numbers), images, self.workers()):
            self._job = job
            return None
        return self._parts(job, job.recipe, numbers, progress)

    def _parts(
        self, job: FileJob, recipe: Recipe, numbers: Sequence[int], progress: Progress
    ) -> Iterator[tuple[int, xr.Dataset]]:
        total = sum(part.work for part in job.parts)
        done = total - sum(job.parts[number].work for number in numbers)
        topic, identity = f"mosaic-{uuid.uuid4().hex}", _text(job)
        shares: dict[int, tuple[float, str]] = {}
        running: dict[Future, int] = {}
        waiting = list(reversed(numbers))

        def heard(event: tuple[float, tuple[int, float, str]]) -> None:
            number, share, note = event[1]
            shares[number] = share, note

        def say() -> None:
            heard_of = [(job.parts[number].work, *shares[number]) for number in running.values() if number in shares]
            note = f"{len(running)} of {len(job.parts)} batches at once" + (f", {heard_of[-1][2]}" if heard_of else "")
            progress(min(total, done + sum(work * share for work, share, _ in heard_of)), total, job.unit, note)

        try:
            with self._watched():
                self.client.subscribe_topic(topic, heard)
                while waiting or running:
                    most = IN_FLIGHT * self.workers()
                    while waiting and len(running) < most:
                        number = waiting.pop()
                        running[self._submit(compute_part, recipe, identity, number, topic, self.is_mixed)] = number
                    for future in self._finished(running):
                        number = running.pop(future)
                        dataset = self._result(future)
                        done += job.parts[number].work
                        say()
                        yield number, dataset
                    say()
        finally:
            self._give_up(list(running))
            if self._is_there():
                self.client.unsubscribe_topic(topic)

    def posteriors(
        self, function: str, x: Tensor, images: Tensor, arguments: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Iterable[Posterior] | None:
        """Compare x with the shards of a job's training images; None for other images, and where it would not pay."""
        job = self._job
        if job is None or job.recipe is None or images is not job.recipe.images:
            return None
        shards = shards_of(len(images))
        tasks = tasks_of(shards, task_size(function, x, len(shards), self.workers()))
        if len(tasks) < 2:
            return None
        return self._posteriors(job, job.recipe, tasks, (function, x.cpu(), arguments, dict(options)))

    def _posteriors(
        self, job: FileJob, recipe: Recipe, tasks: Sequence[range], call: tuple[Any, ...]
    ) -> Iterator[Posterior]:
        identity = _text(job)
        futures: list[Future] = []
        try:
            with self._watched():
                futures += [self._submit(compute_shards, recipe, identity, *call, task) for task in tasks]
                for future in futures:
                    while not self._finished([future]):
                        pass
                    yield self._result(future)
        finally:
            self._give_up(futures)

    def _submit(self, function: Any, *arguments: Any) -> Future:
        key = f"mosaic-{function.__name__}-{uuid.uuid4().hex}"
        return self.client.submit(function, *arguments, key=key, pure=False)

    def _finished(self, futures: Iterable[Future]) -> list[Future]:
        """Wait for some of the futures, a while; gives those that are finished, or lost with their scheduler."""
        from distributed import wait

        pending = list(futures)
        with suppress(TimeoutError), self.client.as_current():
            wait(pending, timeout=WATCH, return_when="FIRST_COMPLETED")
        if not self._is_there():
            raise self._gone()
        return [future for future in pending if future.done()]

    def _result(self, future: Future) -> Any:
        from distributed import KilledWorker

        try:
            while True:  # a worker that is lost before its result is collected takes the result with it
                with suppress(TimeoutError):
                    return future.result(timeout=TIMEOUT)
                if not self._is_there():
                    raise self._gone()
        except KilledWorker as error:
            raise WorkersLost(
                f"A batch was given up: {error.allowed_failures + 1} workers that computed it were lost, the last one "
                f"at {error.last_worker.address}; they may lack memory (`memory`, `batch_size`)."
            ) from None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Say in one sentence that the scheduler is lost, which ends what is asked of it in many ways."""
        from concurrent.futures import CancelledError

        from distributed.comm import CommClosedError

        try:
            yield
        except (CommClosedError, CancelledError) as error:
            raise self._gone() from error
        except OSError as error:
            if self._is_there():  # an error of the work itself
                raise
            raise self._gone() from error

    def _is_there(self) -> bool:
        return bool(self.client.status == "running")

    def _gone(self) -> WorkersLost:
        return WorkersLost(f"The scheduler at {self.address} is gone; start it again.")

    def _give_up(self, futures: Sequence[Future]) -> None:
        if futures and self._is_there():
            self.client.cancel(list(futures), force=True)


def _text(job: FileJob) -> str:
    return json.dumps({**short(job.identity), **here()}, sort_keys=True)
