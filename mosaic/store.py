"""Storage of runs: finished batches as part files, made into one netCDF file at the end.

A netCDF-4 file open for writing cannot be read, and a killed writer loses it. So each finished batch becomes
a file of its own, written under a temporary name and then moved into place, and so does the whole. A kill at
any moment loses at most the batch in flight.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

try:
    import fcntl
except ImportError:  # no file locks, as on Windows
    fcntl = None  # type: ignore[assignment]

from mosaic.entry import core_digest
from mosaic.errors import UsageError
from mosaic.trajectory import open_trajectory

__all__ = [
    "BegunOtherwise",
    "PlaceTaken",
    "RunStore",
    "as_attribute",
    "check_writable",
    "join",
    "locked",
    "named_differences",
    "replacing",
    "unused_path",
    "write_netcdf",
]

IDENTITY = "identity.json"


def unused_path(folder: Path, name: str = "run", endings: Sequence[str] = (".nc", ".nc.parts", ".png")) -> Path:
    """Give the first of NAME-001.nc, NAME-002.nc, ... of whose `endings` there is no file in `folder`."""
    number = 1
    while any((folder / f"{name}-{number:03d}{end}").exists() for end in endings):
        number += 1
    return folder / f"{name}-{number:03d}.nc"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path that takes `path`'s place when the block ends well: readers see old or whole new."""
    temporary = path.with_name(f".{path.name}.tmp")  # one name, so that a killed writer leaves nothing behind for good
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written ({error.strerror or error}); choose another place.") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write `dataset` to `path` at one stroke, compressed, in chunks of whole trajectories."""
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.data_vars.items():
        chunks = (1, *variable.shape[1:]) if variable.dims[:1] == ("sample",) else variable.shape
        encoding[str(name)] = {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunks}
    with replacing(path) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)


class BegunOtherwise(UsageError):
    """What is at this place was begun with another configuration.

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
            f"'{place}' was begun with another configuration ({'; '.join(differing)}); resume with that one, or use "
            f"--overwrite or another --out."
        )


class PlaceTaken(UsageError):
    """Another run began at this place between the check and the beginning."""


@contextmanager
def locked(folder: Path, work: Path) -> Iterator[None]:
    """Hold a folder against other processes; the system lets go of it when this one ends.

    Raises
    ------
    PlaceTaken
        If another process holds it, with `work` for what it is at.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PlaceTaken(f"another process is at work on '{work}'; wait for it, or use another --out.") from None
    try:
        yield
    finally:
        os.close(descriptor)


class RunStore:
    """The files of one run: `path`, and its parts in `<path>.parts` until it is finished.

    A run's identity is what must agree for it to be resumed: a mapping, JSON-serialisable, that is kept with
    the parts and whose entries are root attributes of the finished run. Parts without one are rubbish. Entries in
    `free`, such as `configuration.scales_from`, may differ: they say where something lay that others identify.
    """

    def __init__(
        self,
        path: Path,
        open_stored: Callable[[Path], xr.Dataset] = open_trajectory,
        free: Sequence[str] = (),
    ) -> None:
        self.path, self._open, self._free = path, open_stored, tuple(f"{name}:" for name in free)
        self.parts = path.with_name(path.name + ".parts")

    def has_begun(self) -> bool:
        """Tell whether there is a run, in progress or finished."""
        return self.path.exists() or self.parts.exists()

    def check_place(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a place that cannot be written or is taken; writes nothing.

        Raises
        ------
        UsageError
            If it cannot be written, or (without `resume` and `overwrite`) something is there.
        """
        check_writable(self.path)
        if resume or overwrite:
            return
        if self.path.exists():
            raise UsageError(f"'{self.path}' exists already; use --overwrite to replace it, or another --out.")
        if self.parts.exists():
            with locked(self.parts, self.path):
                raise UsageError(f"'{self.parts}' holds an unfinished run; use --resume to go on, or --overwrite.")

    def _begun(self) -> dict[str, str] | None:
        """Identity of the run in progress, as attributes."""
        if not (self.parts / IDENTITY).exists():
            return None
        return {key: as_attribute(value) for key, value in json.loads((self.parts / IDENTITY).read_text()).items()}

    def _stored(self) -> dict[str, str] | None:
        """Root attributes of the finished run."""
        if not self.path.exists():
            return None
        with self._open(self.path) as stored:
            return {str(key): str(value) for key, value in stored.attrs.items()}

    def configuration(self) -> dict[str, Any] | None:
        """Resolved configuration of the run that is here, in progress or finished; None where there is none."""
        here = self._begun() or self._stored()
        return None if here is None else dict(json.loads(here["configuration"]))

    def is_finished(self, identity: Mapping[str, Any]) -> bool:
        """Tell whether the run to be resumed is finished; writes nothing.

        Raises
        ------
        UsageError
            If the run that is here, in progress or (where none is) finished, has another identity.
        """
        begun, stored = self._begun(), self._stored()
        here = begun if begun is not None else stored
        if here is not None and (differing := self._differences(here, identity)):
            raise BegunOtherwise(self.path, differing)
        return stored is not None and not self._differences(stored, identity)

    def _differences(self, stored: Mapping[str, str], identity: Mapping[str, Any]) -> list[str]:
        """Name what differs between a run's attributes and a wanted identity, as `key: stored, now wanted`."""
        old = {key: json.loads(stored[key]) for key in identity if key in stored}
        differing = named_differences(old, json.loads(json.dumps(identity)))
        return [words for words in differing if not words.startswith(self._free)]

    @contextmanager
    def begin(self, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Make the folder for the parts, emptied of what is not this run's, and hold it until the block ends.

        Raises
        ------
        PlaceTaken
            If another run has begun here meanwhile, or another process is at work on this one.
        UsageError
            If it cannot be written.
        """
        try:
            if overwrite or (resume and self._begun() is None):
                self.clear()
            try:
                self.parts.mkdir(exist_ok=resume)
            except FileExistsError:
                raise PlaceTaken(f"another run has just begun at '{self.path}'; use another --out.") from None
            with locked(self.parts, self.path), replacing(self.parts / IDENTITY) as temporary:
                temporary.write_text(json.dumps(identity, indent=1))
        except OSError as error:
            raise UsageError(
                f"--out '{self.path}' cannot be written ({error.strerror}); choose another place."
            ) from None
        with locked(self.parts, self.path):
            yield

    def part(self, batch: int) -> Path:
        """File of one finished batch."""
        return self.parts / f"part-{batch:05d}.nc"

    def write_part(self, batch: int, dataset: xr.Dataset) -> None:
        """Store a finished batch."""
        write_netcdf(dataset.assign_attrs(code=core_digest()), self.part(batch))

    def finish(
        self,
        batches: int,
        attributes: Mapping[str, str],
        complete: Callable[[xr.Dataset], xr.Dataset] = lambda whole: whole,
    ) -> None:
        """Join the parts, `complete` the whole, write it with `attributes` on its root, and remove the parts."""
        parts = [xr.load_dataset(self.part(batch), engine="netcdf4") for batch in range(batches)]
        codes = sorted(
            {str(part.attrs.get("code")) for part in parts}
        )  # of several where it was gone on with by another
        write_netcdf(complete(join(parts, {**attributes, "code": " ".join(codes)})), self.path)
        self._clean()

    def abandon(self) -> None:
        """Remove the folder for the parts if no batch was finished."""
        if not list(self.parts.glob("part-*.nc")):
            self._clean()

    def clear(self) -> None:
        """Remove parts that are left here.

        Raises
        ------
        PlaceTaken
            If another process is at work on them.
        """
        if self.parts.exists():
            with locked(self.parts, self.path):
                self._clean()

    def _clean(self) -> None:
        """Remove the parts: first what makes them a run, so that a kill here leaves rubbish, not a false run."""
        (self.parts / IDENTITY).unlink(missing_ok=True)
        shutil.rmtree(self.parts, ignore_errors=True)


def join(parts: Sequence[xr.Dataset], attributes: Mapping[str, str]) -> xr.Dataset:
    """Join the batches of a run along `sample`."""
    whole = xr.concat(parts, dim="sample", data_vars="minimal", coords="minimal", compat="override", join="override")
    return whole.assign_attrs(attributes)


def as_attribute(value: Any) -> str:
    """Text of a root attribute: JSON, since netCDF attributes hold no null, bool or mapping."""
    return json.dumps(value)


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before anything is computed."""
    if path.suffix != ".nc":
        raise UsageError(f"--out '{path}' must end in .nc: a run is one netCDF file.")
    if not path.parent.is_dir():
        raise UsageError(f"--out '{path}': there is no folder '{path.parent}'; make it first.")
    if path.is_dir() or not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"--out '{path}' cannot be written; choose another place.")


def named_differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name what differs between two mappings, at any depth, as `key: stored, now wanted`."""
    found = []
    for key in sorted({*stored, *wanted}):
        old, new = stored.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{key}.{inner}" for inner in named_differences(old, new)]
        elif old != new:
            found.append(f"{key}: {_short(old)}, now {_short(new)}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."
