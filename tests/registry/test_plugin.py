"""What became of a plugin, and which plugins are switched off."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import pytest
from plugin_modules import plugin

from mosaic.registry.plugin import disabled_names, distribution_of, unmatched_names


def test_a_broken_plugin_provides_nothing_and_has_a_remedy() -> None:
    broken = plugin("acme:score")
    broken.provides = ["score:mean"]
    broken.failed(KeyError("lost"))
    assert (broken.status, broken.error, broken.provides) == ("broken", "KeyError: 'lost'", [])
    assert "acme" in broken.remedy.partition(";")[0]
    assert "MOSAIC_DISABLE_PLUGINS=acme:score" in broken.remedy


def test_the_remedy_for_a_missing_module_names_the_module() -> None:
    broken = plugin("acme:score")
    broken.failed(ModuleNotFoundError("No module named 'torch.lost'", name="torch.lost"))
    assert "'torch.lost'" in broken.remedy.partition(";")[0]
    broken.broken("taken", "ask for 'acme:els'")
    assert broken.remedy.partition(";")[0] == "ask for 'acme:els'"


def test_an_entry_point_belongs_to_a_distribution_or_to_none() -> None:
    (entry,) = entry_points(group="mosaic", name="schedules")
    name, version = distribution_of(entry)
    assert name == "mosaic-diffusion"
    assert version[0].isdigit()
    assert distribution_of(EntryPoint("a", "b:c", "mosaic")) == ("unknown", "")


def test_names_that_are_switched_off_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOSAIC_DISABLE_PLUGINS", raising=False)
    assert disabled_names() == set()
    monkeypatch.setenv("MOSAIC_DISABLE_PLUGINS", " acme:score, other ,,")
    assert disabled_names() == {"acme:score", "other"}


def test_a_name_is_matched_by_key_distribution_or_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = [plugin("acme:score"), plugin("best:metric")]
    monkeypatch.setenv("MOSAIC_DISABLE_PLUGINS", "acme,metric,best:metric,acme:metric,zzz,aaa")
    assert unmatched_names(plugins) == ["aaa", "acme:metric", "zzz"]
