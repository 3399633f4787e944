"""What to do after an interrupt: the command line that resumes the work."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mosaic.storage.output import Output

__all__ = ["advice_after", "command_to_resume"]


def advice_after(output: Output, done: bool) -> str:
    """Say what is kept of interrupted work, and how to resume it; `done` means that only its picture was missing."""
    if done:
        return f"the result is kept in '{output.path}', without its picture."
    if not output.is_unfinished():
        return "nothing was written."
    return f"finished batches are kept. Resume with: {command_to_resume(sys.argv[1:], output.path)}"


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
