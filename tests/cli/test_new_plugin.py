"""`mosaic new-plugin`: what it writes and refuses; tests/system/test_distributions.py installs what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from command_results import done, refused

Invoke = Callable[..., Result]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("My Score",), "'My Score'"),
        (("my-score", "--kind", "sampler"), "'sampler'"),
        (("taken",), "'taken'"),
        (("plugins",), "'plugins'"),
        (("els",), "mosaic-diffusion:machines"),
        (("x" * 300,), "300"),
    ],
)
def test_a_new_plugin_that_cannot_be_written(invoke: Invoke, arguments: tuple[str, ...], value: str) -> None:
    Path("taken").mkdir()
    refused(invoke("new-plugin", *arguments), 2, value)
    assert [path.name for path in Path().iterdir()] == ["taken"]
    assert not list(Path("taken").iterdir())


def test_the_document_lists_the_files_that_were_written(invoke: Invoke) -> None:
    document = json.loads(done(invoke("new-plugin", "my-noise", "--kind", "schedule", "--json")).stdout)
    assert document["path"] == "my-noise"
    written = {path.as_posix() for path in Path("my-noise").rglob("*") if path.is_file()}
    assert set(document["files"]) == written
    assert "my-noise/mosaic_my_noise/__init__.py" in written


def test_the_next_step_is_noted_with_the_folder(invoke: Invoke) -> None:
    result = done(invoke("new-plugin", "my-score"))
    assert result.stdout == "my-score\n"
    assert "pip install -e './my-score[test]' && pytest my-score" in result.stderr
