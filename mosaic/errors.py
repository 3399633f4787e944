"""Errors that a user can fix, and the exit code that each one gives the command line."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable
from enum import IntEnum

__all__ = ["DataError", "ExitCode", "MosaicError", "MosaicWarning", "PluginError", "UsageError", "did_you_mean", "note"]


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


class UsageError(MosaicError):
    """An option, argument or configuration value that cannot be used."""

    exit_code = ExitCode.USAGE


class PluginError(MosaicError):
    """A plugin that was asked for is broken or not installed."""

    exit_code = ExitCode.PLUGIN


class DataError(MosaicError):
    """Image data that was asked for is missing or cannot be used."""

    exit_code = ExitCode.DATA


class MosaicWarning(UserWarning):
    """What a user should know of, such as damaged files that are made again; the command line writes it as a note."""


def note(message: str) -> None:
    """Warn of something that stops nothing."""
    warnings.warn(message, MosaicWarning, stacklevel=2)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
