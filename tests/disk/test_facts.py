"""Facts that are found out once of a file that does not change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mosaic.disk import facts
from mosaic.disk.facts import file_identity, remembered


def settle(path: Path) -> None:
    os.utime(path, (path.stat().st_mtime - 60,) * 2)


def test_a_fact_is_found_once() -> None:
    found: list[int] = []

    def find() -> int:
        found.append(1)
        return len(found)

    assert [remembered("a", "count", find) for _ in range(2)] == [1, 1]
    assert remembered("b", "count", find) == 2
    assert remembered("a", "other", find) == 3
    assert [remembered(None, "count", find) for _ in range(2)] == [4, 5]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"identity": "b", "count": 7}', b'{"identity": "a"}'])
def test_what_is_damaged_is_found_again(content: bytes) -> None:
    remembered("a", "count", lambda: 1)
    (path,) = (facts.cache_folder() / "facts").iterdir()
    path.write_bytes(content)
    assert remembered("a", "count", lambda: 2) == 2
    assert remembered("a", "count", lambda: 3) == 2


def test_what_is_no_json_or_cannot_be_written_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(remembered("a", "limits", lambda: float("nan"))) == "nan"
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(facts, "cache_folder", lambda: tmp_path / "file")
    assert remembered("a", "count", lambda: 4) == 4


def test_a_file_is_identified_by_its_state_once_it_is_at_rest(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert file_identity(path) is None
    path.write_text("1")
    assert file_identity(path) is None  # it may change within the clock's resolution
    settle(path)
    first = file_identity(path)
    assert first is not None
    assert first == file_identity(path)
    path.write_text("22")
    settle(path)
    assert file_identity(path) not in (None, first)
