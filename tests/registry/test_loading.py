"""Plugins are loaded one by one; installed distributions are found."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plugin_modules import module, registering, schedule

import mosaic
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


def test_lifecycle_hooks_are_called_with_the_run(tiny: mosaic.DataSet) -> None:
    calls: list[tuple[str, Any]] = []
    observer = module(
        before_run=lambda config: calls.append(("before", config.steps)),
        after_run=lambda config, trajectory: calls.append(("after", trajectory.sizes["step"])),
    )
    registry = mosaic.registry()
    registry._manager.register(observer, name="observer")
    try:
        mosaic.run(score="is", dataset=tiny, steps=3, samples=1)
    finally:
        registry._manager.unregister(observer)
    assert calls == [("before", 3), ("after", 3)]


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


def install(folder: Path, name: str, text: str) -> None:
    """Lay a distribution of one plugin module out in `folder`, as pip would."""
    (folder / f"{name}_module.py").write_text(text)
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[mosaic]\nscore = {name}_module\n")


@pytest.mark.parametrize(("top", "code"), [("", 0), ("raise OSError('disk on fire')", 3)], ids=["sound", "raises"])
def test_an_installed_distribution_is_found_and_runs_or_is_reported(tmp_path: Path, top: str, code: int) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(site, "acme", DISTRIBUTION.format(top=top))
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", "from mosaic_cli.main import cli; cli()"]
    listed = subprocess.run([*command, "plugins"], env=environment, capture_output=True, text=True, check=True)
    assert "acme:score" in listed.stdout
    ran = subprocess.run(
        [*command, "run", "--score", "mean", "--samples", "1", "--steps", "2"],
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
