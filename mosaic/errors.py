"""Errors that a user can fix, and the exit code that each one gives the command line."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum

__all__ = [
    "DataError",
    "ExitCode",
    "MosaicError",
    "MosaicWarning",
    "PluginError",
    "UsageError",
    "did_you_mean",
    "no_exit",
    "of_system",
    "shown",
    "warn_of",
]

# Modules whose lines are not the caller's: mosaic's own, and those of the decorators between them.
OWN = ("mosaic", "mosaic_cli", "mosaic_data", "mosaic_plugins", "contextlib", "torch")


class ExitCode(IntEnum):
    """Exit codes of every `mosaic` command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    PLUGIN = 3
    DATA = 4
    INTERRUPTED = 130


class MosaicError(Exception):
    """Base class: a sentence that names the value, what is allowed and the fix."""

    exit_code = ExitCode.FAILURE


class MosaicWarning(UserWarning):
    """What a caller should know though nothing is wrong, such as a metric that was left out; the CLI prints a note."""


class UsageError(MosaicError):
    """An option, argument or configuration value that cannot be used."""

    exit_code = ExitCode.USAGE


class PluginError(MosaicError):
    """A plugin that was asked for is broken or not installed."""

    exit_code = ExitCode.PLUGIN


class DataError(MosaicError):
    """Image data that was asked for is missing or cannot be used."""

    exit_code = ExitCode.DATA


def warn_of(notes: Iterable[str]) -> None:
    """Give each note as a `MosaicWarning`, from the line that called mosaic."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in OWN:
        frame, level = frame.f_back, level + 1
    for note in notes:
        warnings.warn(note, MosaicWarning, stacklevel=level)


@contextmanager
def no_exit(what: str) -> Iterator[None]:
    """Turn an attempt of a plugin to end the program into an error; `what` names the plugin.

    Raises
    ------
    PluginError
        If the block calls sys.exit.
    """
    try:
        yield
    except SystemExit as error:
        raise PluginError(
            f"{what} tried to end the program (sys.exit({error.code!r})); it must raise an error."
        ) from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def of_system(error: OSError) -> MosaicError:
    """Say what the system says of a path; without a path, an error inside stays one.

    Raises
    ------
    OSError
        If it names no path.
    """
    if error.filename is None:
        raise error
    return UsageError(f"'{error.filename}': {error.strerror}.")


def shown(value: object, most: int = 120) -> str:
    """Show a value in a message: as `repr` does, but in one line, and cut where it is long."""
    try:
        text = " ".join(line.strip() for line in repr(value).splitlines())
    except Exception:  # a number of more digits than Python prints, or an object whose `repr` fails
        return f"a value of type {type(value).__name__} that cannot be printed"
    return text if len(text) <= most else f"{text[:most]}..."
