"""Kills at chosen moments, without processes: every move, removal and new folder is one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from mosaic.disk.atomic import is_temporary


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def kill_at(moment: int, monkeypatch: pytest.MonkeyPatch, place: str, without: str = "^$") -> list[str]:
    """Raise `Killed` before the moment-th move, removal or making of a folder in paths with `place`; give the calls.

    Paths in which the pattern `without` is found do not count.
    """
    calls: list[str] = []

    def guarded(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            # Temporary folders of their own are left out: they would double the kills, and change nothing.
            path = str(args[0])
            if place in path and not is_temporary(Path(path)) and not re.search(without, path):
                calls.append(name)
                if len(calls) == moment:
                    raise Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    guarded(Path, "replace")
    guarded(Path, "rename")
    guarded(Path, "hardlink_to")
    guarded(Path, "mkdir")
    guarded(shutil, "rmtree")
    return calls
