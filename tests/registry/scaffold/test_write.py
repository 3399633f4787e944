"""A new plugin's distribution: its names, its files, and what it registers."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from plugin_modules import plugin

import mosaic
from mosaic.registry.hooks import KINDS as REGISTERED
from mosaic.registry.registry import Registry
from mosaic.registry.scaffold.write import KINDS, check_name, write_plugin


def test_there_is_a_template_for_every_kind_but_samplers() -> None:
    assert {*KINDS, "sampler"} == set(REGISTERED)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_registers_a_class_under_its_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_plugin(f"my-{kind}", kind, tmp_path / "new")
    assert {path.as_posix() for path in paths} == {
        path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*") if path.is_file()
    }
    monkeypatch.syspath_prepend(tmp_path / "new")
    module = importlib.import_module(f"mosaic_my_{kind}")
    try:
        registry = Registry()
        registry.add(module, plugin(f"mosaic-my-{kind}:my-{kind}"))
        assert registry.plugins[0].error == ""
        assert registry.plugins[0].provides == [f"{kind}:my-{kind}"]
        assert registry.get(kind, f"my-{kind}").__name__ == f"My{kind.capitalize()}"
    finally:
        del sys.modules[f"mosaic_my_{kind}"]


def test_the_distribution_is_declared_with_its_entry_point_and_this_version_of_mosaic(tmp_path: Path) -> None:
    write_plugin("far-sight", "score", tmp_path / "far-sight")
    project = tomllib.loads((tmp_path / "far-sight" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "mosaic-far-sight"
    assert project["entry-points"]["mosaic"] == {"far-sight": "mosaic_far_sight"}
    (needed,) = [each for each in project["dependencies"] if each.startswith("mosaic-diffusion")]
    allowed = SpecifierSet(needed.removeprefix("mosaic-diffusion"))
    assert version("mosaic-diffusion") in allowed
    assert "99.0" not in allowed
    assert "{{" not in "".join(path.read_text() for path in (tmp_path / "far-sight").rglob("*.py"))


@pytest.mark.parametrize("name", ["a", "my-score", "x2", "a-2b"])
def test_small_letters_digits_and_hyphens_make_a_name(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "My",
        "my_score",
        "2x",
        "-a",
        "a-",
        "a--b",
        "a b",
        "é",
        "a\n",
        "cli",
        "plugins",
        "class",
        "none",
        "torch",
        "mosaic",
        "json",
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    with pytest.raises(mosaic.UsageError) as caught:
        check_name(name)
    assert f"'{name}'" in str(caught.value)


@pytest.mark.parametrize("name", ["cli", "plugins", "class", "none", "torch", "mosaic", "json"])
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(mosaic.UsageError, match=f"'{name}'"):
        check_name(name)


def test_a_full_disk_leaves_no_half_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, pages = Path.write_text, []

    def full(path: Path, *args: Any, **kwargs: Any) -> int:
        pages.append(path)
        if len(pages) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(mosaic.UsageError, match=r"my-score'.*full.*MiB"):
            write_plugin("my-score", "score", tmp_path / "my-score")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def appear(path: Path, *args: Any, **kwargs: Any) -> int:
        (tmp_path / "my-score").mkdir(exist_ok=True)
        return write(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", appear)
    with pytest.raises(mosaic.UsageError, match="my-score'"):
        write_plugin("my-score", "score", tmp_path / "my-score")
    assert [path.name for path in tmp_path.rglob("*")] == ["my-score"]


def test_nothing_is_written_over_what_is_there_or_under_a_taken_name(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(mosaic.UsageError, match="taken'"):
        write_plugin("my-score", "score", tmp_path / "taken")
    with pytest.raises(mosaic.UsageError, match=r"'els'.*mosaic-diffusion:machines"):
        write_plugin("els", "score", tmp_path / "els")
    with pytest.raises(mosaic.UsageError, match="'sampler'"):
        write_plugin("my-sampler", "sampler", tmp_path / "my-sampler")
    (tmp_path / "file").write_text("")
    with pytest.raises(mosaic.UsageError, match="below"):
        write_plugin("my-score", "score", tmp_path / "file" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]
    assert not list((tmp_path / "taken").iterdir())
    write_plugin("els", "metric", tmp_path / "els")  # no metric is called so
