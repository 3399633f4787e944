"""The command line that goes on with what was interrupted."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["command_to_go_on"]


def command_to_go_on(arguments: list[str], path: Path) -> str:
    """Write the command line that goes on with interrupted work at `path`, from the arguments it was begun with."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument in ("--resume", "--overwrite") or argument.startswith("--out="):
            skip = False
        elif argument == "--out":
            skip = True
        else:
            kept.append(argument)
    return shlex.join(["mosaic", *kept, "--out", str(path), "--resume"])
