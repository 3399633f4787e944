"""Folders are held by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mosaic.disk.lock import LOCK, OutputInUse, locked

HOLD = """
import sys
from pathlib import Path
from mosaic.disk.lock import locked
with locked(Path("."), Path("a.nc")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.system
def test_another_process_holds_a_folder_until_it_is_killed(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputInUse), locked(tmp_path, tmp_path / "a.nc"):
            pass
    finally:
        other.kill()
        other.communicate()
    with locked(tmp_path, tmp_path / "a.nc"):
        assert (tmp_path / LOCK).exists()
    assert not list(tmp_path.iterdir())


def test_a_folder_is_let_go_of_when_the_work_fails(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locked(tmp_path, tmp_path / "a.nc"):
            raise ZeroDivisionError
