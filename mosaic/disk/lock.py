"""Folders held by one process at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from mosaic.device import interrupts_held
from mosaic.disk.failures import write_error
from mosaic.errors import UsageError

__all__ = ["LOCK", "OutputInUse", "locked"]

LOCK = ".lock"


class OutputInUse(UsageError):
    """Another process is working on this output, or started it between the check and the start."""


@contextmanager
def locked(folder: Path, work: Path) -> Iterator[None]:
    """Lock a folder against other processes; the system releases the lock when this process ends.

    Raises
    ------
    OutputInUse
        If another process holds it, with `work` for what it is working on.
    """
    lock = filelock.FileLock(folder / LOCK)
    try:
        with interrupts_held():
            _acquire(lock, folder, work)
        yield
    finally:
        if lock.is_locked:
            with interrupts_held():
                with suppress(OSError):  # Windows cannot remove an open file; elsewhere filelock notices
                    (folder / LOCK).unlink()
                lock.release()


def _acquire(lock: filelock.BaseFileLock, folder: Path, work: Path) -> None:
    try:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:  # also where its file cannot be made
            if not (folder / LOCK).exists():
                tempfile.TemporaryFile(dir=folder).close()
            raise OutputInUse(f"another process is working on '{work}'; wait for it, or use another `out`.") from None
    except OSError as error:
        raise write_error(work, error) from None
