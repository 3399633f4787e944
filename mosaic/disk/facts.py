"""The cache folder, and facts kept there that are costly to compute: of files, as long as they do not change."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from mosaic.disk.atomic import replacing
from mosaic.errors import MosaicError

__all__ = ["cache_folder", "file_identity", "file_state", "remembered"]

FORM = 1  # of what is computed; a change of the code that computes it needs another one
SETTLED = 2.0  # seconds: a file that changed later than that may change again with the same time of change


def cache_folder() -> Path:
    """The user's cache folder for this program; all that is in it can be made again."""
    return Path(platformdirs.user_cache_dir("mosaic-diffusion"))


def file_state(path: Path) -> str:
    """Name a file as it is now: its path in hexadecimal digits, its size, time of change and number.

    A folder, such as a Zarr store, does not tell when files in it change.

    Raises
    ------
    OSError
        If there is no such file.
    """
    status = path.stat()
    return f"{os.fsencode(path.resolve()).hex()} {status.st_size} {status.st_mtime_ns} {status.st_ino}"


def file_identity(path: Path) -> str | None:
    """Give the `file_state` of a file that cannot change again without another one; None of any other file.

    None if it changed just now, within the resolution of its time of change, and of folders.
    """
    try:
        status, state = path.stat(), file_state(path)
    except OSError:
        return None
    is_settled = stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > SETTLED
    return state if is_settled else None


def remembered(identity: str | None, name: str, compute: Callable[[], Any]) -> Any:
    """Give what `compute` gives, of JSON, from the cache folder where it was computed for the same `identity` before.

    A damaged file is written again. A folder that cannot be written is not an error.
    """
    if identity is None:
        return compute()
    folder = cache_folder() / "facts"
    path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()}.{name}.{FORM}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_bytes())
        if kept["identity"] == identity:
            return kept[name]
    fact = compute()
    with suppress(OSError, MosaicError, ValueError):  # NaN is not JSON
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"identity": identity, name: fact}, allow_nan=False)
        with replacing(path) as temporary:
            temporary.write_text(content, encoding="ascii")
    return fact
