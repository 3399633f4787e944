"""Plugins are loaded each by itself, those of installed distributions too."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributions import CLI
from installed_distribution import lay_out
from plugin_modules import registering, schedule

from mosaic.registry.loading import load_registry


class Entry(SimpleNamespace):
    """An entry point whose load() is given."""


def entry(key: str, load: Any) -> EntryPoint:
    distribution, name = key.split(":")
    return Entry(name=name, dist=SimpleNamespace(name=distribution, version="1"), load=load)  # type: ignore[return-value]


def test_loading_survives_imports_that_fail_or_exit_and_honours_disabled() -> None:
    def fails() -> Any:
        raise ImportError("no such thing")

    def exits() -> Any:
        raise SystemExit(3)

    entries = [
        entry("c:fails", fails),
        entry("b:exits", exits),
        entry("a:off", fails),
        entry("d:fine", lambda: registering(schedule("fine"))),
        entry("mosaic-diffusion:core", lambda: registering(schedule("core"))),
    ]
    registry = load_registry(entries, disabled=("off",))
    assert [(p.key, p.status) for p in registry.plugins] == [
        ("mosaic-diffusion:core", "active"),
        ("a:off", "disabled"),
        ("b:exits", "broken"),
        ("c:fails", "broken"),
        ("d:fine", "active"),
    ]
    assert registry.names("schedule") == ["core", "fine"]


DISTRIBUTION = """\
import mosaic
{top}

class Mean(mosaic.ScoreModel):
    name = "mean"

    def denoise(self, x, level, labels=None, scale=0):
        return self.dataset.images.mean(0).to(x).expand_as(x)

@mosaic.hookimpl
def register_scores(register):
    register(Mean)
"""


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
@pytest.mark.parametrize(("top", "code"), [("", 0), ("raise OSError('disk on fire')", 3)], ids=["sound", "raises"])
def test_an_installed_distribution_runs_or_is_reported(tmp_path: Path, top: str, code: int) -> None:
    site = tmp_path / "site"
    site.mkdir()
    files = {"acme_module.py": DISTRIBUTION.format(top=top)}
    lay_out(site, "acme", files, {"mosaic": {"score": "acme_module"}})
    environment = {**os.environ, "PYTHONPATH": str(site)}
    listed = subprocess.run(
        [sys.executable, *CLI, "plugins"], env=environment, capture_output=True, text=True, check=True
    )
    assert "acme:score" in listed.stdout
    ran = subprocess.run(
        [sys.executable, *CLI, "run", "--score", "mean", "--samples", "1", "--steps", "2"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == code, ran.stderr
    if code:
        assert "disk on fire" in listed.stdout
        assert "acme:score" in ran.stderr
        assert not list(tmp_path.glob("run*"))
    else:
        assert (tmp_path / "run-001.nc").exists()
