"""`mosaic doctor`: what it checks, prints, and exits with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import torch
from click.testing import Result
from command_results import done

import mosaic
from mosaic.registry.plugin import Plugin

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _short_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.bench.doctor.self_check.__defaults__", (0.1,))


def test_doctor_checks_the_numbers_and_names_the_data_there_are(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.loads(done(invoke("doctor", "--json")).stdout)
    assert report["self_check"]["ok"]
    assert report["self_check"]["largest_error"] < 1e-10
    assert report["datasets"]["digits"] == "ok"
    assert "-o dataset.path=" in report["datasets"]["folder"]
    # An engine that is wrong by a little does not pass.
    monkeypatch.setattr("mosaic.bench.doctor.naive_els", lambda x, *_: x)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout.splitlines()[-1]
    report = json.loads(invoke("doctor", "--json").stdout)
    assert (report["healthy"], report["self_check"]["ok"]) == (False, False)
    assert report["self_check"]["largest_error"] > 1e-10


def test_the_text_has_the_values_of_the_document(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_DATA", "nowhere")
    report = json.loads(invoke("doctor", "--json").stdout)
    lines = dict(line.split(": ", 1) for line in done(invoke("doctor", "--data-dir", "elsewhere")).stdout.splitlines())
    assert f"torch {torch.__version__}" in lines["versions"]
    assert report["data_dir"] == "nowhere"
    assert lines["data folder"] == "elsewhere"
    assert report["datasets"]["mnist"].startswith("nowhere")
    assert lines["data set mnist"] == report["datasets"]["mnist"].replace("nowhere", "elsewhere")
    assert lines["plugin mosaic-diffusion:schedules"] == "active"
    assert re.search(r"\b1e-10\b", lines["self-check"])


def test_a_slow_and_a_broken_plugin_are_named(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = mosaic.registry()
    slow, broken = Plugin("acme:slow", "acme", "1", seconds=2.5), Plugin("acme:broken", "acme", "1")
    broken.broken("disk on fire", "put it out")
    monkeypatch.setattr(registry, "plugins", [*registry.plugins, slow, broken])
    lines = dict(line.split(": ", 1) for line in done(invoke("doctor")).stdout.splitlines())
    assert re.search(r"^active\b.*\b2\.5 s$", lines["plugin acme:slow"])
    assert lines["plugin acme:broken"] == f"broken: disk on fire ({broken.remedy})"
