"""Where a result is to be kept, and a job started there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.disk.lock import OutputInUse, locked
from mosaic.errors import DataError, UsageError, warn_of
from mosaic.interfaces.options import Options
from mosaic.progress import Progress
from mosaic.storage.files import check_free, check_reachable, check_writable, open_stored, reusing, unused_path
from mosaic.storage.job import FileJob
from mosaic.storage.parts import PartFiles
from mosaic.storage.schema import TABLES

__all__ = ["Output", "start_job"]


@dataclass(frozen=True)
class Output:
    """Where a result is kept, and whether it may resume or replace what is there.

    Attributes
    ----------
    path : Path
        The netCDF file, or Zarr store.
    resume, overwrite : bool
        Resume what is unfinished there; or replace what is there.
    beside : tuple of str
        Endings, in place of its own, of files written together with it: (".png",) for its picture.
    series : str
        Name of the series NAME-001.nc, NAME-002.nc, ... that the file is the first unused one of; empty for a file
        that the user named.
    endings : tuple of str
        Endings that it may have: what it may be stored in.
    """

    path: Path
    resume: bool = False
    overwrite: bool = False
    beside: tuple[str, ...] = ()
    series: str = ""
    endings: tuple[str, ...] = (".nc",)

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise UsageError("`resume` and `overwrite` exclude each other.")
        check_reachable(self.path, also=self._also())

    def _also(self) -> list[Path]:
        """Paths that are taken by writing the file."""
        if not self.path.name:  # "." or "/", beside which there is nothing
            raise UsageError(f"`out` '{self.path}' is a folder; name a file in it.")
        return [PartFiles(self.path).folder, *self._beside()]

    @classmethod
    def unused(cls, series: str, beside: Sequence[str] = ()) -> Output:
        """Give the first file of a series in the current folder that is not there, nor anything beside it."""
        path = unused_path(Path(), series, (".nc", ".nc.parts", *beside))
        return cls(path, beside=tuple(beside), series=series)

    def check(self) -> None:
        """Refuse a place that cannot be written, or is taken; writes nothing.

        Raises
        ------
        UsageError
            With what to do about it.
        """
        check_writable(self.path, self.endings)
        if self.series:  # it was unused when it was chosen; if that has changed, the next one is used
            return
        files = PartFiles(self.path)
        if not self.resume:
            check_free(self.path, self.overwrite)
            if files.folder.exists() and not self.overwrite:
                with locked(files.folder, self.path):
                    raise UsageError(
                        f"'{files.folder}' holds unfinished work; use `resume` to continue it, or `overwrite`."
                    )
        if not (self.resume and (self.path.exists() or files.may_replace())):
            for path in self._beside():
                check_free(path, self.overwrite)

    def _beside(self) -> list[Path]:
        return [self.path.with_name(self.path.stem + ending) for ending in self.beside]

    def replaceable(self) -> list[Path]:
        """List the files beside it that may be replaced: with `overwrite` all, with `resume` those there already."""
        return [path for path in self._beside() if self.overwrite or (self.resume and path.exists())]

    @staticmethod
    def reading() -> AbstractContextManager[None]:
        """Name the way out where a result that is kept here turns out to be damaged: a context."""
        return reusing("Use `overwrite` to replace it, or another `out`.")

    def is_unfinished(self) -> bool:
        """Tell whether there is unfinished work here, which can be resumed."""
        return PartFiles(self.path).folder.exists()

    def kept_settings(self, model: type[Options]) -> dict[str, Any]:
        """Settings of what is to be resumed here, of this configuration model; empty where there is nothing.

        Raises
        ------
        UsageError
            If it was started with settings that there are no longer.
        DataError
            If the file there is not one of mosaic's.
        """
        with self.reading():
            kept = self._kept_configuration() if self.resume else {}
            if not isinstance(kept, dict) or any(
                key.endswith("_options") and not isinstance(value, dict) for key, value in kept.items()
            ):
                raise DataError(f"The configuration of what is at '{self.path}' is damaged.")
        if unknown := sorted(kept.keys() - model.model_fields.keys()):
            raise UsageError(
                f"What is there was started by another version of mosaic, with other settings ({', '.join(unknown)}), "
                "and cannot be resumed; use `overwrite`, or another `out`."
            )
        return kept

    def _kept_configuration(self) -> Any:
        files = PartFiles(self.path)
        if files.is_lost():
            warn_of(
                [f"The settings of the work in '{files.folder}' are damaged; those given now, and defaults, are used."]
            )
        kept = files.in_progress()
        if kept is not None:
            return kept.get("configuration", {})
        if not self.path.exists():
            return {}
        with open_stored(self.path, tuple(TABLES), "a result of mosaic") as stored:
            return json.loads(stored.attrs.get("configuration", "{}"))


def start_job(
    job_at: Callable[[Path], FileJob],
    output: Output | None,
    progress: Progress,
    started: Callable[[Output], object] = lambda output: None,
) -> xr.Dataset:
    """Do the work of a job, and keep its result where `output` says.

    Parameters
    ----------
    job_at : callable
        job_at(path): the job that is kept at a path.
    output : Output, optional
        If another process takes an unused file of a series first, the next one is used.
    started : callable
        started(output) is called before the work begins, with the output that is used.

    Returns
    -------
    xarray.Dataset
        In memory, or (with an output) opened from the file.
    """
    if output is None:
        return job_at(Path()).compute(progress)
    while True:
        started(output)
        try:
            return job_at(output.path).execute(resume=output.resume, overwrite=output.overwrite, progress=progress)
        except OutputInUse:
            if not output.series:
                raise
            output = Output.unused(output.series, output.beside)
