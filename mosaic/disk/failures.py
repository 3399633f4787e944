"""Why something could not be written, in one sentence: a full disk, a folder that is gone, a limit."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from mosaic.errors import UsageError

__all__ = ["WriteError", "cause_of", "write_error"]

ROOM = 2**16  # bytes that a netCDF file takes beside its arrays
PIECE = 2**26  # bytes that the netCDF library may write at a time


class WriteError(UsageError):
    """A place that cannot be written, or not any more."""


def write_error(path: Path, error: OSError) -> WriteError:
    """Say why `path` cannot be written, and what to do."""
    return WriteError(f"'{path}' cannot be written: {_reason(path, error)}.")


def _reason(path: Path, error: OSError) -> str:
    folder = path.absolute().parent
    match error.errno:
        case errno.ENOSPC:
            return f"the disk of '{folder}' is full ({_free(folder)}); free some space, or choose another place"
        case errno.EDQUOT:
            return f"the quota of the disk of '{folder}' is used up; free some space, or choose another place"
        case errno.EFBIG:
            return f"it is larger than a file may be here{_limit()}; raise the limit, or choose another place"
        case errno.EROFS:
            return f"the disk of '{folder}' is read-only; choose another place"
        case errno.ENAMETOOLONG:
            longest = max(map(len, path.parts))
            return (
                f"it is too long, or a name in it is ({len(str(path))} and {longest} characters); choose a shorter one"
            )
        case errno.ENOENT | errno.ENOTDIR if not folder.is_dir():
            return f"there is no folder '{folder}' any more; make it again, or choose another place"
        case _:
            return f"{error.strerror or error}; choose another place"


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB are free"
    except OSError:
        return "nothing is free"


def _limit() -> str:
    try:
        import resource
    except ImportError:  # not on Windows
        return ""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return "" if limit == resource.RLIM_INFINITY else f" (the limit of this process is {limit} bytes, `ulimit -f`)"


def cause_of(error: Exception, temporary: Path, size: int) -> OSError:
    """Find why the netCDF library failed to write `size` bytes to `temporary`: it says "HDF error" for a full disk.

    What it has written is still there. So the file cannot grow by the next piece if that was the cause.
    """
    try:
        with temporary.open("ab") as file:
            room = min(size + ROOM, PIECE)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), file.tell(), room)
            else:
                file.truncate(file.tell() + room)
    except OSError as cause:
        if cause.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            return cause
    return error if isinstance(error, OSError) else OSError(None, " ".join(str(error).split()))
