"""Jobs: work whose result is kept. A run, a calibration, a training, a leaderboard entry are one kind of thing.

A job has an identity (what must agree for its result to be used again), a place and a state. `kept` lists what is at
the place. From this the job decides whether its result is finished, can be resumed, or belongs to another job.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.containers.access import is_zarr
from mosaic.device import begin_work, standard_torch
from mosaic.disk.failures import WriteError
from mosaic.errors import UsageError
from mosaic.progress import Progress, piece_of, prefixed, silent
from mosaic.storage.executor import Recipe, WorkersLost, executor_in_use
from mosaic.storage.files import open_stored, reusing
from mosaic.storage.indexes import indexed
from mosaic.storage.parts import PartFiles, encoded, join
from mosaic.storage.regions import RegionFiles

__all__ = [
    "ConfigMismatch",
    "FileJob",
    "Job",
    "Part",
    "State",
    "differences",
    "how_to_resume",
]


VERSIONS = "versions"  # an entry of the identity, as `made_by.versions_of` gives it


class State(StrEnum):
    """What is at a job's place."""

    MISSING = "missing"
    IN_PROGRESS = "in progress"
    DONE = "done"
    OTHER = "other"  # in progress or done, with another identity


class ConfigMismatch(UsageError):
    """What is at this place has another identity.

    Attributes
    ----------
    place : Path
        What is there.
    differing : sequence of str
        What differs, as `key: stored, now wanted`.
    """

    def __init__(self, place: Path, differing: Sequence[str]) -> None:
        self.place, self.differing = place, differing
        super().__init__(
            f"'{place}' was made with other settings ({'; '.join(differing)}); give those, or use another `out`."
        )


class Job(ABC):
    """One piece of work whose result is kept.

    Attributes
    ----------
    place : Path
        Where its result is kept.
    identity : mapping
        What must agree, JSON-serialisable.
    free : tuple of str
        Entries of the identity that may differ, such as `configuration.epochs`.
    """

    place: Path
    identity: Mapping[str, Any]
    free: tuple[str, ...] = ()

    @abstractmethod
    def kept(self) -> list[tuple[State, Mapping[str, Any]]]:
        """List what is at the place, with its identity: work in progress first, then a finished result."""

    def state(self) -> State:
        """Tell what is at the place."""
        kept = self.kept()
        if not kept:
            return State.MISSING
        if self.differing(kept[0][1]):
            return State.OTHER
        # Both can be there: a finished result, and work in progress that will replace it. The work in progress counts,
        # unless the finished result has the wanted identity.
        done = any(state is State.DONE and not self.differing(identity) for state, identity in kept)
        return State.DONE if done else State.IN_PROGRESS

    def is_done(self) -> bool:
        """Tell whether the whole result is there; writes nothing.

        Raises
        ------
        ConfigMismatch
            If something else is there.
        """
        state = self.state()
        if state is State.OTHER:
            raise ConfigMismatch(self.place, self.differing(self.kept()[0][1]))
        return state is State.DONE

    def differing(self, identity: Mapping[str, Any]) -> list[str]:
        """Name what differs between an identity and the job's own, as `key: stored, now wanted`.

        A version that was not recorded is no difference: earlier versions of mosaic did not record those of networks.
        """
        stored = {key: identity[key] for key in self.identity if key in identity}
        wanted = json.loads(json.dumps(self.identity))
        recorded = stored.get(VERSIONS)
        if isinstance(recorded, Mapping) and isinstance(wanted.get(VERSIONS), Mapping):
            wanted[VERSIONS] = {name: value for name, value in wanted[VERSIONS].items() if name in recorded}
        texts = differences(stored, wanted)
        return [text for text in texts if not text.startswith(tuple(f"{name}:" for name in self.free))]

    @abstractmethod
    def execute(self, *, resume: bool = False, overwrite: bool = False, progress: Progress = silent) -> Any:
        """Do the work, keep the result, and give it.

        Parameters
        ----------
        resume : bool
            Compute only what is missing of a result with the same identity.
        overwrite : bool
            Replace what is there. With neither option, a place that holds something is refused.
        progress : Progress
            Called with the work done.
        """


def how_to_resume(resume: bool) -> str:
    """Name what uses what is kept, for work with this `resume`; where it is always set, no setting has that name."""
    return "starting it again" if resume else "`resume`"


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name what differs between two mappings, at any depth, as `key: stored, now wanted`."""
    texts = []
    for key in sorted({*stored, *wanted}):
        old, new = stored.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            texts += [f"{key}.{inner}" for inner in differences(old, new)]
        elif old != new:
            texts.append(f"{key}: {_short(old)}, now {_short(new)}")
    return texts


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


@dataclass(frozen=True)
class Part:
    """A batch of a job's result.

    Attributes
    ----------
    work : float
        How much work it is, in the job's unit.
    compute : callable
        compute(progress) gives its data set.
    samples : range
        Its place along `sample`, which a result needs that may be stored by regions.
    """

    work: float
    compute: Callable[[Progress], xr.Dataset]
    samples: range = range(0)


@dataclass(frozen=True)
class FileJob(Job):
    """A job whose result is one netCDF file, or one Zarr store, of parts along `sample`.

    Attributes
    ----------
    schema, what : str
        Schema of the file, and what it is in words, such as "a stored run".
    parts : sequence of Part
        Its batches.
    unit : str
        What work is counted in.
    attributes : callable
        Gives its root attributes, in addition to the identity and the schema.
    complete : callable
        What is done to the joined parts before they are written, where it takes all of them in memory; by default they
        are joined one by one.
    before, after : callable
        `before()` is called before the first part is computed, `after(whole)` with the finished result. Neither is
        called if the result was finished already.
    check : callable
        Refuses a finished file that has the job's identity, and no longer holds the whole result.
    recipe : Recipe, optional
        How another process makes it; None if it needs what only this process has.
    """

    place: Path
    identity: Mapping[str, Any]
    schema: str
    what: str
    parts: Sequence[Part]
    unit: str
    attributes: Callable[[], Mapping[str, str]]
    complete: Callable[[xr.Dataset], xr.Dataset] | None = None
    before: Callable[[], object] = lambda: None
    after: Callable[[xr.Dataset], object] = lambda whole: None
    free: tuple[str, ...] = ()
    check: Callable[[xr.Dataset], object] = lambda whole: None
    recipe: Recipe | None = None

    @property
    def files(self) -> PartFiles:
        """The finished file or store, and the parts of an unfinished one."""
        if is_zarr(self.place):
            return RegionFiles(self.place, [part.samples for part in self.parts])
        return PartFiles(self.place)

    def open(self) -> xr.Dataset:
        """Open the finished result, lazily; refuses one that was changed."""
        with ExitStack() as stack:
            stored = stack.enter_context(self._stored())
            self.check(stored)
            stack.pop_all()
        return stored

    def _stored(self) -> xr.Dataset:
        return open_stored(self.place, (self.schema,), self.what)

    def kept(self) -> list[tuple[State, Mapping[str, Any]]]:
        """List what is in progress here, and the finished file."""
        kept: list[tuple[State, Mapping[str, Any]]] = []
        identity = self.files.in_progress()
        if identity is not None:
            kept.append((State.IN_PROGRESS, identity))
        if self.place.exists():
            with reusing(), self._stored() as stored:
                known = {key: json.loads(stored.attrs[key]) for key in self.identity if key in stored.attrs}
            kept.append((State.DONE, known))
        return kept

    def root(self) -> dict[str, str]:
        """Root attributes of the result."""
        return {**self.attributes(), **encoded(self.identity), "schema": self.schema}

    def execute(self, *, resume: bool = False, overwrite: bool = False, progress: Progress = silent) -> xr.Dataset:
        """Compute the parts that are missing, join them, and give the result, opened from its file.

        Raises
        ------
        ConfigMismatch
            If `resume` is set, and something else is there.
        OutputInUse
            If another process is working on it.
        """
        begin_work()
        files = self.files
        if resume and self.is_done():
            whole = self.open()
            files.clear()  # a kill after the file was written, before its parts were removed, leaves both
            return whole
        with files.hold(resume=resume, overwrite=overwrite):
            if resume and self.is_done():  # finished by another process since
                files.remove()
                return self.open()
            replaces = files.begin(self.identity, resume=resume, overwrite=overwrite)
            try:
                self.before()
                for number, dataset in self._computed(progress, lambda number: not files.finished(number)):
                    files.write_part(number, dataset)
                    del dataset  # or it would be in memory together with the next one
                files.finish(len(self.parts), self.root(), self.complete, replaces)
            except Exception as error:
                done = files.kept_parts()
                files.abandon()
                if not isinstance(error, (WriteError, WorkersLost)) or not done:
                    raise
                raise type(error)(
                    f"{error} {done} of {len(self.parts)} batches are finished and kept in '{files.folder}'; "
                    f"{how_to_resume(resume)} uses them."
                ) from None
        with self.open() as whole:
            self.after(whole)
        return self.open()

    def compute(self, progress: Progress = silent) -> xr.Dataset:
        """Compute the whole in memory; nothing is written."""
        begin_work()
        self.before()
        parts = dict(self._computed(progress, lambda number: True))
        whole = join([parts[number] for number in sorted(parts)], self.root())
        whole = indexed(whole if self.complete is None else self.complete(whole))
        self.after(whole)
        return whole

    def _computed(self, progress: Progress, wanted: Callable[[int], bool]) -> Iterator[tuple[int, xr.Dataset]]:
        """Yield number and data set of each part that is wanted; the others' work counts as done."""
        total = sum(part.work for part in self.parts)
        numbers = [number for number in range(len(self.parts)) if wanted(number)]
        left = set(numbers)
        done = sum(part.work for number, part in enumerate(self.parts) if number not in left)
        progress(done, total, self.unit, "starting")  # the speed is that of what follows
        executor = executor_in_use()
        elsewhere = executor.computed(self, numbers, progress) if executor is not None and numbers else None
        if elsewhere is not None:
            yield from elsewhere
            return
        for number in numbers:
            part, batch = self.parts[number], prefixed(progress, f"batch {number + 1}/{len(self.parts)}")
            with standard_torch():
                dataset = part.compute(piece_of(batch, done, part.work, total, self.unit))
            done += part.work
            yield number, dataset
            del dataset
