"""The command line that resumes what was interrupted."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["command_to_resume"]


def command_to_resume(arguments: list[str], path: Path) -> str:
    """Write the command line that resumes interrupted work at `path`, from the arguments that started it."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument in ("--resume", "--overwrite") or argument.startswith("--out="):
            skip = False
        elif argument == "--out":
            skip = True
        else:
            kept.append(argument)
    return shlex.join(["mosaic", *kept, "--out", str(path), "--resume"])
