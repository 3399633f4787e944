"""What a Dask worker does: it makes a job by its recipe, and computes a part of it or some of its shards."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from mosaic.device import instructions, limited_threads
from mosaic.engine.compute import DEFAULT
from mosaic.engine.distribute import POSTERIORS
from mosaic.engine.posterior import Posterior
from mosaic.errors import MosaicError, UsageError
from mosaic.storage.executor import Recipe
from mosaic.storage.job import FileJob
from mosaic.storage.made_by import core_digest

__all__ = ["MIXED_WORKERS", "compute_part", "compute_shards", "here", "short"]

KEPT = 2  # jobs that a worker keeps, with their data
LONG = 4096  # characters of an entry of an identity that is sent as its digest
CODE, PROCESSOR = "worker_code", "worker_processor"  # what is compared beside the identity
MIXED = ("engine", PROCESSOR)  # what may differ between mixed workers
MIXED_WORKERS = "MOSAIC_MIXED_WORKERS"  # environment variable of the user's process that allows mixed workers
PAUSE = 0.5  # seconds between two reports of how far a part is

_AT_WORK = threading.Lock()  # one task at a time in a process: it uses all threads, and the memory of one
_made: dict[tuple[str, bool], FileJob] = {}
_is_limited = False


def here() -> dict[str, str]:
    """Name what decides numbers beside a job's identity: mosaic's code, and the instructions of the processor."""
    return {CODE: core_digest(), PROCESSOR: "+".join(instructions())}


def short(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Replace long entries of an identity, such as the labels of all samples, by their digests: each task has it."""
    texts = {key: json.dumps(value, sort_keys=True) for key, value in identity.items()}
    return {
        key: identity[key] if len(text) < LONG else hashlib.sha256(text.encode()).hexdigest()
        for key, text in texts.items()
    }


def compute_part(recipe: Recipe, identity: str, number: int, topic: str, is_mixed: bool = False) -> xr.Dataset:
    """Compute one part of a job; reports its share of the work under a topic.

    With `is_mixed` the engine's build and the processor may be other ones, and the part says which these are.

    Parameters
    ----------
    recipe : Recipe
        How the job is made.
    identity : str
        The client's identity of the job, as JSON.
    number : int
        Of the part.
    topic : str
        For events (number, share, note).

    Raises
    ------
    MosaicError
        If it fails, or the job made here is another one.
    """
    with _at_work(recipe.folder) as report:
        job, said = _job(recipe, identity, is_mixed), 0.0

        def progress(done: float, total: float, unit: str, note: str = "") -> None:
            nonlocal said
            if time.monotonic() - said > PAUSE:
                said = time.monotonic()
                report(topic, (number, done / total if total else 1.0, note))

        part = job.parts[number].compute(progress)
        if not is_mixed:
            return part
        engine = job.identity.get("engine")
        return part.assign_attrs(workers="/".join([str(engine or "no engine").replace(" ", "-"), *instructions()]))


def compute_shards(
    recipe: Recipe,
    identity: str,
    function: str,
    x: Tensor,
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
    shards: range,
) -> Posterior:
    """Compare noisy images x with the training images of a job that are in some shards, by one of `POSTERIORS`."""
    with _at_work(recipe.folder):
        made = _job(recipe, identity).recipe
        if made is None or made.images is None:
            raise UsageError("This job says of no training images.")
        compute = replace(options.get("compute", DEFAULT), shards=shards)
        x = x.to(made.images.device)
        with limited_threads(made.threads):
            return POSTERIORS[function](x, made.images, *arguments, **{**options, "compute": compute})


@contextmanager
def _at_work(folder: str | None) -> Iterator[Callable[[str, Any], object]]:
    """Do one task at a time, with as many threads as the worker has; yields what logs an event.

    It is done in the user's folder, where relative paths start, if the worker's machine has this folder.

    Errors are made such that they can be sent, with the class's exit code and the sentence.
    """
    from distributed import get_worker

    global _is_limited
    worker = get_worker()
    with _AT_WORK:
        is_here = worker.address.startswith("inproc://")  # the user's process stays as it is
        if not (_is_limited or is_here):
            torch.set_num_threads(max(1, min(torch.get_num_threads(), worker.state.nthreads)))
            _is_limited = True
        try:
            with chdir(folder) if folder and Path(folder).is_dir() and not is_here else nullcontext():
                yield worker.log_event
        except MosaicError as error:
            kind = next(each for each in type(error).__mro__ if each.__module__ == MosaicError.__module__)
            raise kind(f"On the worker at {worker.address}: {error}") from None


def _job(recipe: Recipe, identity: str, is_mixed: bool = False) -> FileJob:
    """Make a job, or take it from those made before; refuses one that is not the client's.

    Raises
    ------
    UsageError
        If the identity differs, such as the data, a version or the build of the engine, or mosaic's code, or the
        instructions of the processor.
    """
    key = identity, is_mixed
    if key in _made:
        _made[key] = _made.pop(key)  # the last one is the one used last
        return _made[key]
    while len(_made) >= KEPT:  # before another one has its data in memory
        del _made[next(iter(_made))]
    job = recipe.made()
    wanted = replace(job, identity={**short(job.identity), **here()})
    if is_mixed:
        wanted = replace(wanted, free=(*wanted.free, *MIXED))
    if differing := wanted.differing(json.loads(identity)):
        raise UsageError(
            f"it would not compute the same ({'; '.join(differing)}); use workers with the same data, the same "
            "versions of mosaic and its plugins, and processors of the same kind, and start them again after a change. "
            f"{MIXED_WORKERS}=1 allows other processors and records them."
        )
    _made[key] = job
    return job
