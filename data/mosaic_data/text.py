"""Names of files, and what files say, as text that can be shown and stored, in whatever locale."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import mosaic

__all__ = ["error_line", "listed", "readable", "utf8_name"]


def utf8_name(path: Path) -> str:
    """Give a file's name, which is UTF-8 whatever the locale says.

    Raises
    ------
    DataError
        If it is not.
    """
    try:
        return os.fsencode(path.name).decode()
    except UnicodeError:
        raise mosaic.DataError(f"The name of '{readable(path)}' is not valid UTF-8; rename it.") from None


def readable(path: Path) -> str:
    """Give a path as text, with escapes in place of bytes that are not UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def listed(names: Sequence[str], most: int = 12) -> str:
    """List names that come from a file; those that would not show as they are come in quotes, escaped."""
    shown = [name if name.isprintable() and name else repr(name) for name in names[:most]]
    return ", ".join([*shown, "..."] if len(names) > most else shown)


def error_line(error: Exception) -> str:
    """Say what a library raised, in one line; it may quote a damaged file."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
