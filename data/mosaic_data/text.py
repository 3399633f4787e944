"""Names of files as text that can be shown and stored."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["readable", "utf8_name"]


def utf8_name(path: Path) -> str:
    """Give a file's name as UTF-8, whatever the locale; one that is not stays as Python escapes it."""
    try:
        return os.fsencode(path.name).decode()
    except UnicodeError:
        return path.name


def readable(path: Path) -> str:
    """Give a path as text, with escapes in place of bytes that are not UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")
