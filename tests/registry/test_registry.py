"""The plugin loader and registry: whatever one plugin does, the others work."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from plugin_modules import module, plugin, registering, schedule

import mosaic
from mosaic.registry.plugin import Plugin
from mosaic.registry.registry import Registry


def test_names_and_aliases_lead_to_the_registered_class() -> None:
    registry, cls = Registry(), schedule("flat")
    registry.add(registering(cls, aliases=("level", "even")), plugin("d:p"))
    assert registry.plugins[0].status == "active"
    assert registry.plugins[0].provides == ["schedule:flat"]
    for name in ("flat", "level", "even", "d:flat"):
        assert registry.get("schedule", name) is cls
    assert registry.names("schedule") == ["even", "flat", "level"]


def test_a_collision_breaks_the_later_plugin_and_names_both_owners() -> None:
    registry, first, second = Registry(), schedule("flat"), schedule("flat")
    registry.add(registering(first), plugin("acme:p"))
    registry.add(registering(second, schedule("other")), plugin("best:p"))
    later = registry.plugins[1]
    assert later.status == "broken"
    assert "acme:p" in later.error
    assert "best:p" in later.error
    assert "best:flat" in later.remedy
    assert registry.get("schedule", "flat") is first
    assert registry.get("schedule", "best:flat") is second
    assert "other" not in registry.names("schedule")  # all or nothing


def half(register: mosaic.Register) -> None:
    register(schedule("first"))
    raise RuntimeError("then it failed")


@pytest.mark.parametrize(
    ("broken", "value"),
    [
        (module(register_schedules=half), "then it failed"),
        (module(register_schedules=lambda registrar: None), "registrar"),
        (registering(str), "NoiseSchedule"),
        (registering(schedule("Upper Case ")), "'Upper Case '"),
        (registering(schedule("a:b")), "'a:b'"),
        (registering(schedule("")), "''"),
        (registering(schedule("x"), schedule("x")), "schedule 'x'"),
        (module(register_schedules=lambda register: sys.exit(1)), "SystemExit: 1"),
        (module(register_schedule=lambda register: None), "'register_schedules'"),
        (registering(mosaic.NoiseSchedule, name="abstract"), "signal_noise"),
    ],
    ids=["half", "signature", "no-subclass", "case", "colon", "empty", "twice", "exits", "misspelt", "abstract"],
)
def test_a_broken_plugin_registers_nothing_and_harms_nobody(broken: Any, value: str) -> None:
    registry = Registry()
    registry.add(broken, plugin("bad:p"))
    registry.add(registering(schedule("good")), plugin("good:p"))
    assert registry.plugins[0].status == "broken"
    assert value in registry.plugins[0].error
    assert registry.names("schedule") == ["good"]


def test_registering_after_the_hook_is_an_error() -> None:
    kept: list[mosaic.Register] = []
    Registry().add(module(register_schedules=lambda register: kept.append(register)), plugin("d:p"))
    with pytest.raises(RuntimeError, match="register_schedules"):
        kept[0](schedule("late"))


def test_dataset_options_must_have_limit() -> None:
    class Source(mosaic.DataSource):
        name = "source"
        Options = mosaic.Options  # type: ignore[assignment]

        def read(self) -> mosaic.DataSet:
            raise AssertionError

    registry = Registry()
    registry.add(module(register_datasets=lambda register: register(Source)), plugin("d:p"))
    assert "DataSetOptions" in registry.plugins[0].error


def test_an_unknown_name_suggests_the_nearest_and_mentions_broken_plugins() -> None:
    registry = Registry()
    registry.add(registering(schedule("cosine")), plugin("good:p"))
    registry.add(module(register_schedules=half), plugin("bad:p"))
    with pytest.raises(mosaic.PluginError, match=r"'cosin'.*'cosine'.*bad:p"):
        registry.get("schedule", "cosin")
    with pytest.raises(mosaic.UsageError, match=r"'schedul'.*'schedule'"):
        registry.get("schedul", "cosine")


def test_a_disabled_plugin_is_named_where_a_name_is_missing() -> None:
    registry = Registry()
    registry.plugins.append(Plugin("off:p", "off", "1", status="disabled"))
    with pytest.raises(mosaic.PluginError, match=r"'mean'.*MOSAIC_DISABLE_PLUGINS.*off:p"):
        registry.get("score", "mean")


def test_an_object_is_made_of_its_options_and_further_arguments(tiny: mosaic.DataSet) -> None:
    machine = mosaic.registry().make("score", "els", {"boundary": "circular"}, tiny)
    assert (machine.options.boundary, machine.dataset) == ("circular", tiny)
    assert mosaic.registry().parse("score", "els", {}).boundary == "zeros"
    with pytest.raises(mosaic.UsageError, match=r"score.els.*'boundry'.*'boundary'"):
        mosaic.registry().parse("score", "els", {"boundry": "circular"})


def test_a_choice_is_written_as_the_settings_that_make_it() -> None:
    registry = mosaic.registry()
    options = registry.parse("dataset", "file", {"path": "a.npz", "range": "0,1"}).model_dump(mode="json")
    assert (
        registry.chosen_text("dataset", "file", options)
        == "`dataset` file `dataset.path=a.npz` `dataset.range=0.0,1.0`"
    )
    assert registry.chosen_text("schedule", "edm", {"sigma_max": 80, "rho": 5}) == "`schedule` edm `schedule.rho=5.0`"
    assert registry.chosen_text("dataset", "nowhere", options) == "`dataset` nowhere"


def test_names_belong_to_the_plugins_that_registered_them() -> None:
    registry = mosaic.registry()
    assert registry.owner("schedule", "cosine") == "mosaic-diffusion:schedules"
    assert registry.owner("schedule", "acme:cosine") == "acme"
    assert registry.default_metrics()[:3] == ["pearson_r", "r2", "R2"]
    assert registry.agreement_metrics() == ["pearson_r", "r2", "R2", "cosine", "mse"]
    assert registry.checkpoint_score() == "network"
    for query in (Registry().agreement_metrics, Registry().checkpoint_score):
        with pytest.raises(mosaic.PluginError):
            query()


def test_it_shows_what_it_holds_in_a_line() -> None:
    assert "score" in repr(mosaic.registry())
    assert "\n" not in repr(mosaic.registry())


def test_a_notebook_shows_names_with_their_plugins_and_what_is_broken() -> None:
    registry = Registry()
    registry.add(registering(schedule("<flat>"), schedule("even")), plugin("acme:p"))
    registry.add(module(register_schedules=half), plugin("best:p"))
    shown = registry._repr_html_()
    assert "&lt;flat&gt;, even (acme:p)" in shown
    assert "best:p: RuntimeError" in shown
    assert "broken" not in Registry()._repr_html_()
