"""Jobs that other processes compute: how they make a job, and what hands them its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import xarray as xr

from mosaic.errors import MosaicError
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.images import Images
from mosaic.interfaces.options import Options
from mosaic.progress import Progress

if TYPE_CHECKING:
    from mosaic.storage.job import FileJob

__all__ = ["Executor", "Recipe", "WorkersLost", "executing", "executor_in_use"]


class WorkersLost(MosaicError):
    """The other processes that computed a job are lost."""


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:
        return None


@dataclass(frozen=True)
class Recipe:
    """How another process makes a job that computes the same: what is named is opened there, and little is sent.

    Attributes
    ----------
    prepare : callable
        A function of a module: prepare(config, access, memory=memory) gives a plan.
    job_of : callable
        A function of a module: job_of(plan, path) gives the job.
    config : Options
        The settings, whose relative paths start at `folder`.
    access : DataAccess
        Where data are looked for.
    memory : str or number, optional
        What each process may take.
    folder : str, optional
        Where this process works; None if it is not there any more.
    images : Images, optional
        The training images in this process that all samples are compared with; not sent.
    threads : int, optional
        Blocks of candidates that this process may work on at a time; not sent.
    """

    prepare: Callable[..., Any]
    job_of: Callable[[Any, Path], FileJob]
    config: Options
    access: DataAccess
    memory: str | float | None = None
    folder: str | None = field(default_factory=_working_folder)
    images: Images | None = field(default=None, repr=False, compare=False)
    threads: int | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "images": None, "threads": None}

    def made(self) -> FileJob:
        """Make the job, with no place to keep it."""
        access = replace(self.access, download=False)  # the data are here; workers would do it at once
        return self.job_of(self.prepare(self.config, access, memory=self.memory), Path())


class Executor(Protocol):
    """Computes parts of jobs elsewhere."""

    def computed(
        self, job: FileJob, numbers: Sequence[int], progress: Progress
    ) -> Iterator[tuple[int, xr.Dataset]] | None:
        """Compute parts, in any order, and give each with its number; None where they are to be computed here.

        `progress` is called with the work of the whole job.
        """


_EXECUTOR: ContextVar[Executor | None] = ContextVar("executor", default=None)


@contextmanager
def executing(executor: Executor | None) -> Iterator[None]:
    """Let an executor compute the parts of all jobs in this context; None for this process."""
    token = _EXECUTOR.set(executor)
    try:
        yield
    finally:
        _EXECUTOR.reset(token)


def executor_in_use() -> Executor | None:
    """What computes the parts of jobs in this context; None where this process does."""
    return _EXECUTOR.get()
