"""Interrupts that wait for work which must not stop halfway."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interrupts_held"]


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Hold back Ctrl-C until the block ends, and raise it then; the block asks for it by calling what it is given.

    A second Ctrl-C is not held back. Outside the main thread, where Python hears no signals, nothing is changed.
    """
    heard = False

    def hold(number: int, frame: Any) -> None:
        nonlocal heard
        if heard:
            raise KeyboardInterrupt
        heard = True

    listening = threading.current_thread() is threading.main_thread()
    listening = listening and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listening:
        signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: heard
    finally:
        if listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if heard:
        raise KeyboardInterrupt
