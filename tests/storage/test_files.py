"""Files: whole or not there, and held by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mosaic
from mosaic.storage.files import (
    LOCK,
    OutputInUse,
    check_free,
    check_writable,
    locked,
    open_stored,
    replacing,
    unused_folder,
    unused_path,
)

HOLD = """
import sys
from pathlib import Path
from mosaic.storage.files import locked
with locked(Path("."), Path("a.nc")):
    print("held", flush=True)
    sys.stdin.read()
"""


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


def test_what_is_not_written_to_the_end_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "new")]


@pytest.mark.parametrize("left", ["run-001.nc", "run-001.nc.parts", "run-001.png"])
def test_a_name_is_taken_by_whatever_a_run_leaves(tmp_path: Path, left: str) -> None:
    (tmp_path / left).touch()
    assert unused_path(tmp_path).name == "run-002.nc"


@pytest.mark.parametrize("out", ["a.txt", "nowhere/a.nc", "folder.nc"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(mosaic.UsageError):
        check_writable(tmp_path / out)


def test_what_is_not_a_file_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.nc").write_text("text")
    for name in ("nothing.nc", "text.nc", "."):
        with pytest.raises(mosaic.DataError):
            open_stored(tmp_path / name, ("mosaic-trajectory/2",), "a run")


def test_a_path_that_is_taken_is_free_only_to_be_replaced(tmp_path: Path) -> None:
    check_free(tmp_path / "a", overwrite=False)
    (tmp_path / "a").touch()
    check_free(tmp_path / "a", overwrite=True)
    with pytest.raises(mosaic.UsageError, match=r"`overwrite`"):
        check_free(tmp_path / "a", overwrite=False)


def test_the_first_folder_of_a_name_that_is_not_there_is_unused() -> None:
    assert unused_folder("net") == Path("net")
    Path("net").mkdir()
    Path("net-2").mkdir()
    assert unused_folder("net") == Path("net-3")
