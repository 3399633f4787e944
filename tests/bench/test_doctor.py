"""The doctor: its check of the numbers, and what it says of an installation."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

import mosaic
from mosaic.bench import doctor
from mosaic.engine.naive import naive_els
from mosaic.interfaces.data_source import DataAccess


def test_the_check_computes_two_cases_at_least() -> None:
    actual = doctor.self_check(0.0)
    assert actual["ok"]
    assert actual["cases"] == 2
    assert 0 < actual["largest_error"] <= actual["tolerance"] == 1e-10
    assert actual["largest_error"] < actual["largest_error_float32"] <= actual["tolerance_float32"] == 2e-4


@pytest.mark.parametrize("error", [1e-11, 1e-9, 1e-3])
def test_an_error_is_measured_and_judged_by_the_tolerance(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 an error of 1e-9 is too large, in float32 that of 1e-3."""

    def wrong_by(x: torch.Tensor, *others: Any) -> torch.Tensor:
        return naive_els(x, *others) + error

    monkeypatch.setattr(doctor, "naive_els", wrong_by)
    actual = doctor.self_check(0.0)
    assert actual["largest_error"] == pytest.approx(error, rel=0.01)
    assert actual["ok"] == (error < 1e-10)
    assert (actual["largest_error_float32"] <= actual["tolerance_float32"]) == (error < 2e-4)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("mosaic.bench.doctor.self_check.__defaults__", (0.0,))
    return doctor.examine(DataAccess(tmp_path / "nowhere"))


def test_the_report_names_versions_and_plugins(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report)) == report
    assert report["healthy"]
    assert report["versions"]["numpy"] == version("numpy")
    assert report["versions"]["torch"] == version("torch")
    assert {plugin["key"] for plugin in report["plugins"]} == {plugin.key for plugin in mosaic.registry().plugins}


def test_the_report_says_of_every_data_set_whether_it_is_there(report: dict[str, Any], tmp_path: Path) -> None:
    assert list(report["datasets"]) == mosaic.registry().names("dataset")
    assert report["data_dir"] == str(tmp_path / "nowhere")
    available = {name for name, state in report["datasets"].items() if state == "ok"}
    assert available == {"digits", "black-white", "shapes", "pairs", "pairs-shape"}
    assert report["datasets"]["file"].endswith("`dataset.path=...`")
    assert str(tmp_path / "nowhere") in report["datasets"]["mnist"]
