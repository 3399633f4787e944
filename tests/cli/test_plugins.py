"""`mosaic plugins`: every entry point and what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from command_results import done

import mosaic
from mosaic.registry.plugin import Plugin

Invoke = Callable[..., Result]


def test_all_built_in_plugins_are_active(invoke: Invoke) -> None:
    rows = json.loads(done(invoke("plugins", "--json")).stdout)
    assert {row["status"] for row in rows} == {"active"}
    (schedules,) = [row for row in rows if row["key"] == "mosaic-diffusion:schedules"]
    assert "schedule:cosine" in schedules["provides"]
    assert (schedules["error"], schedules["remedy"]) == ("", "")
    lines = {line.split()[0]: line.split()[1:] for line in done(invoke("plugins")).stdout.splitlines()}
    assert lines["mosaic-diffusion:schedules"][:2] == [schedules["version"], "active"]


def test_a_broken_plugin_is_listed_with_its_error_and_remedy(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Plugin("acme:score", "acme", "1.2")
    wrong.failed(ModuleNotFoundError("No module named 'nowhere'", name="nowhere"))
    registry = mosaic.registry()
    monkeypatch.setattr(registry, "plugins", [*registry.plugins, wrong])
    result = done(invoke("plugins"))
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith("acme:score  ")]
    assert row == ["acme:score", "1.2", "broken"]
    assert wrong.error in result.stdout
    assert wrong.remedy in result.stdout
    (listed,) = [row for row in json.loads(invoke("plugins", "--json").stdout) if row["key"] == "acme:score"]
    assert (listed["status"], listed["error"], listed["provides"]) == ("broken", wrong.error, [])


def test_a_disabled_name_that_no_plugin_has_is_noted(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_DISABLE_PLUGINS", "schedules, scedules")
    lines = done(invoke("plugins")).stderr.splitlines()
    assert len(lines) == 1
    assert "'scedules'" in lines[0]
    assert done(invoke("plugins", "-q")).stderr == ""
