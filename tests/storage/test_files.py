"""Files: whole or not there, and held by one process at a time."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.storage.failures import WriteError
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
    write_netcdf,
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


def test_a_file_that_appears_meanwhile_is_replaced_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def write(overwrite: bool) -> None:
        with replacing(path, overwrite) as temporary:
            temporary.write_text("ours")
            path.write_text("theirs")

    with pytest.raises(mosaic.UsageError, match=r"a\.txt"):
        write(overwrite=False)
    assert path.read_text() == "theirs"
    write(overwrite=True)
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_written_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlinkable(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", unlinkable)
    path = tmp_path / "a.txt"
    with replacing(path, overwrite=False) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"


def test_no_link_at_a_temporary_name_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "a.txt").write_text("theirs")
    path = tmp_path / "a.txt"
    (tmp_path / ".a.txt.tmp").symlink_to(folder / "a.txt")
    names = []
    for _ in range(2):
        with replacing(path) as temporary:
            assert temporary.parent.stat().st_mode & 0o777 == 0o700  # where only the owner can plant a link
            temporary.write_text("ours")
        names.append(temporary.parent.name)
        (tmp_path / names[-1]).symlink_to(folder)
    assert names[0] != names[1]
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("a.txt", "theirs")]


def test_temporaries_of_killed_writers_are_removed_and_those_in_use_are_not(tmp_path: Path) -> None:
    left = tmp_path / ".mosaic-killed.tmp"
    left.mkdir()
    (left / "a.txt").write_text("half")
    with replacing(tmp_path / "a.txt") as temporary:
        assert not left.exists()
        temporary.write_text("a")
        with replacing(tmp_path / "b.txt") as other:
            other.write_text("b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_a_file_and_its_name_reach_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[str, bool]] = []
    path = tmp_path / "a.txt"
    monkeypatch.setattr("mosaic.storage.files.flush", lambda what: flushed.append((what.name, path.exists())))
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert flushed == [("a.txt", False), (tmp_path.name, True)]


DATA = xr.Dataset({"a": (("sample", "x"), np.random.default_rng(0).random((4, 100_000)))})


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "MiB"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "larger"),
        (errno.EROFS, "read-only"),
        (errno.ENAMETOOLONG, "5 characters"),
        (errno.EACCES, os.strerror(errno.EACCES)),
    ],
)
def test_what_cannot_be_written_names_path_and_reason(tmp_path: Path, number: int, told: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(WriteError, match=re.escape(told)) as caught:
        write()
    assert str(path) in str(caught.value)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_full_device_is_told(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    def write() -> None:
        with replacing(tmp_path / "a.txt"):
            Path("/dev/full").write_text("x")

    with pytest.raises(WriteError, match="full"):
        write()


@pytest.mark.parametrize("place", ["gone/a.nc", "x" * 260 + ".nc", "file/a.nc"])
def test_a_place_that_is_gone_or_too_long_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=place[:4]):
        write_netcdf(DATA, tmp_path / place)


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np, xarray as xr
from mosaic.storage.failures import WriteError
from mosaic.storage.files import write_netcdf
data = xr.Dataset({"a": (("sample", "x"), np.random.default_rng(0).random((4, 100_000)))})
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    write_netcdf(data, Path("full/a.nc"))
except WriteError as error:
    print(error)
"""


def test_a_limit_of_file_sizes_is_told(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no such limits")
    (tmp_path / "full").mkdir()
    command = [sys.executable, "-c", LIMITED, "100000"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "full/a.nc" in output
    assert "100000" in output
    assert not list((tmp_path / "full").iterdir())


@pytest.mark.slow
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", "full"], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let a file system be mounted")
    try:
        command = [sys.executable, "-c", LIMITED]
        output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert re.search(r"full/a\.nc.*full", output)
        assert not list((tmp_path / "full").iterdir())
    finally:
        subprocess.run(["umount", "full"], check=True)


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


def test_writers_in_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Each removes what kills have left, and takes no new temporary of another for that."""

    def write(name: str) -> None:
        for number in range(100):
            with replacing(tmp_path / name) as temporary:
                temporary.write_text(f"{name} {number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: f"{name} 99" for name in "abcd"}


def test_another_failure_than_a_full_disk_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the disk has not as much room as the arrays take uncompressed."""

    def fail(dataset: xr.Dataset, path: Path, encoding: object) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("NetCDF: Filter error")

    monkeypatch.setattr("mosaic.storage.files.store_netcdf", fail)
    huge = xr.Dataset({"a": (("sample", "x"), np.broadcast_to(np.float32(0), (2**20, 2**25)))})
    with pytest.raises(WriteError, match=r"a\.nc'.*Filter error"):
        write_netcdf(huge, tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())
