"""Names of files as text that can be shown and stored, in whatever locale."""

from __future__ import annotations

import os
from pathlib import Path

import mosaic

__all__ = ["readable", "utf8_name"]


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
