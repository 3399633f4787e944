"""Files written atomically: whole or not there."""

from __future__ import annotations

import errno
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mosaic
from mosaic.disk.atomic import replacing, write_together
from mosaic.disk.failures import WriteError


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
    monkeypatch.setattr("mosaic.disk.atomic.flush", lambda what: flushed.append((what.name, path.exists())))
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert flushed == [("a.txt", False), (tmp_path.name, True)]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "MiB"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "larger"),
        (errno.EROFS, "read-only"),
        (errno.ENAMETOOLONG, "too long"),
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


def test_writers_in_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Each removes what kills have left, and takes no new temporary of another for that."""

    def write(name: str) -> None:
        for number in range(100):
            with replacing(tmp_path / name) as temporary:
                temporary.write_text(f"{name} {number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: f"{name} 99" for name in "abcd"}


def test_files_that_belong_together_are_all_written_or_none(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("old")

    def full(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writers = {first: lambda file: file.write_text("new"), second: full}
    with pytest.raises(WriteError, match=r"b\.txt'.*full"):
        write_together(writers, writers)
    with pytest.raises(WriteError, match=r"a\.txt'"):
        write_together({second: lambda file: file.write_text("new"), first: lambda file: file.write_text("new")}, ())
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]
    write_together({**writers, second: lambda file: file.write_text("new")}, [first])
    assert [file.read_text() for file in (first, second)] == ["new", "new"]


def test_what_comes_before_files_are_moved_comes_when_all_are_written(tmp_path: Path) -> None:
    files, written = [tmp_path / "a.txt", tmp_path / "b.txt"], []

    def write(temporary: Path) -> None:
        temporary.touch()
        written.append(temporary)

    def check() -> None:
        assert len(written) == 2
        assert not any(file.exists() for file in files)
        written.clear()

    write_together(dict.fromkeys(files, write), (), before=check)
    assert not written
    assert all(file.exists() for file in files)
