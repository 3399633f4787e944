"""Ctrl-C at chosen moments, without a keyboard: about each taking of the netCDF library's lock, and each write."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import xarray as xr
from xarray.backends.locks import CombinedLock, SerializableLock

from mosaic.netcdf.access import LIBRARY_LOCK

__all__ = ["Hang", "count_moments", "distinct_moments", "interrupt_at"]

SOON = 2.0  # seconds from a Ctrl-C to the end of what it ends, on a busy machine

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
    return len(_stacks(work))


def distinct_moments(work: Callable[[], object]) -> list[int]:
    """Do `work`, and give the first moment at each place of its code: those that the call stack tells apart."""
    first: dict[int, int] = {}
    for moment, stack in enumerate(_stacks(work), 1):
        first.setdefault(stack, moment)
    return list(first.values())


def _stacks(work: Callable[[], object]) -> list[int]:
    """Do `work`; at each moment, a number that stands for the lines of code that are being called."""
    stacks: list[int] = []
    _at_moments(work, lambda: stacks.append(hash(tuple(_lines(sys._getframe())))))
    return stacks


def _lines(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def _at_moments(work: Callable[[], object], act: Callable[[], object]) -> None:
    """Do `work`, and `act` at each of its moments."""

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            act()
            result = original(*args, **kwargs)
            act()
            return result

        return call

    with pytest.MonkeyPatch.context() as patched:
        for owner, name in PLACES:
            patched.setattr(owner, name, guarded(getattr(owner, name)))
        work()


def interrupt_at(moment: int, work: Callable[[], object]) -> None:
    """Do `work` with a Ctrl-C at one of its moments, and hold it to end soon, as an interrupt, without the lock.

    Raises
    ------
    Hang
        If it does not end within SOON seconds, or keeps the lock.
    """
    passed = 0

    def act() -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            signal.setitimer(signal.ITIMER_REAL, SOON, 1)  # again each second: what cleans up may wait, too
            signal.raise_signal(signal.SIGINT)

    with _no_longer_than_soon(), pytest.raises(KeyboardInterrupt):
        _at_moments(work, act)
    if not LIBRARY_LOCK.acquire(blocking=False):
        raise Hang("the lock is kept")
    LIBRARY_LOCK.release()


@contextmanager
def _no_longer_than_soon() -> Iterator[None]:
    """Raise `Hang` when the timer that the interrupt starts runs out."""

    def hang(number: int, frame: Any) -> None:
        raise Hang

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.signal(signal.SIGALRM, hang)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGINT, usual)
