"""Ctrl-C at chosen moments, without a keyboard: about each taking of the netCDF library's lock, and each write."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from xarray.backends.locks import CombinedLock, SerializableLock

from mosaic.netcdf.access import LIBRARY_LOCK

__all__ = ["Hang", "count_moments", "interrupt_at"]

PLACES: list[tuple[Any, str]] = [
    *((lock, name) for lock in (CombinedLock, SerializableLock) for name in ("acquire", "release")),
    (CombinedLock, "__enter__"),
    (CombinedLock, "__exit__"),
    (Path, "replace"),
    (Path, "hardlink_to"),
    (Path, "mkdir"),
    (Path, "write_text"),
    (Path, "write_bytes"),
    (tempfile, "mkdtemp"),
    (shutil, "rmtree"),
    (xr.Dataset, "to_netcdf"),
]


class Hang(Exception):
    """What was interrupted did not end soon, or keeps the lock."""


def count_moments(work: Callable[[], object]) -> int:
    """Do `work`, and count its moments: before and after each call of PLACES."""
    return _until(0, work)


def _until(moment: int, work: Callable[[], object]) -> int:
    passed = 0

    def count() -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            signal.raise_signal(signal.SIGINT)

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            count()
            result = original(*args, **kwargs)
            count()
            return result

        return call

    with pytest.MonkeyPatch.context() as patched:
        for owner, name in PLACES:
            patched.setattr(owner, name, guarded(getattr(owner, name)))
        work()
    return passed


def interrupt_at(moment: int, work: Callable[[], object]) -> None:
    """Do `work` with a Ctrl-C at one of its moments, and hold it to end as an interrupt, without the lock.

    Raises
    ------
    Hang
        If it does not.
    """
    with _ending_soon(), pytest.raises(KeyboardInterrupt):
        _until(moment, work)
    if not LIBRARY_LOCK.acquire(blocking=False):
        raise Hang("the lock is kept")
    LIBRARY_LOCK.release()


@contextmanager
def _ending_soon() -> Iterator[None]:
    """Raise `Hang` after ten seconds, and each second from then on: what cleans up may wait for the lock again."""

    def hang(number: int, frame: Any) -> None:
        raise Hang

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, 10, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGINT, usual)
