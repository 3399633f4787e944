"""The plugin loader and registry: whatever one plugin does, the others work."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from plugin_modules import module, plugin, registering, schedule

import mosaic
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
    registry.add(registering(first), plugin("one:p"))
    registry.add(registering(second, schedule("other")), plugin("two:p"))
    later = registry.plugins[1]
    assert later.status == "broken"
    assert "one:p" in later.error
    assert "two:p" in later.error
    assert "two:flat" in later.remedy
    assert registry.get("schedule", "flat") is first
    assert registry.get("schedule", "two:flat") is second
    assert "other" not in registry.names("schedule")  # all or nothing


def half(register: mosaic.Register) -> None:
    register(schedule("first"))
    raise RuntimeError("then it failed")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (module(register_schedules=half), "then it failed"),
        (module(register_schedules=lambda registrar: None), "registrar"),
        (registering(str), "NoiseSchedule"),
        (registering(schedule("Upper Case ")), "not a name"),
        (registering(schedule("a:b")), "not a name"),
        (registering(schedule("")), "not a name"),
        (registering(schedule("x"), schedule("x")), "twice"),
        (module(register_schedules=lambda register: sys.exit(1)), "SystemExit"),
        (module(register_schedule=lambda register: None), "register_schedule"),
        (registering(mosaic.NoiseSchedule, name="abstract"), "signal_noise"),
    ],
    ids=["half", "signature", "no-subclass", "case", "colon", "empty", "twice", "exits", "misspelt", "abstract"],
)
def test_a_broken_plugin_registers_nothing_and_harms_nobody(broken: Any, message: str) -> None:
    registry = Registry()
    registry.add(broken, plugin("bad:p"))
    registry.add(registering(schedule("good")), plugin("good:p"))
    assert registry.plugins[0].status == "broken"
    assert message in registry.plugins[0].error
    assert registry.names("schedule") == ["good"]


def test_registering_after_the_hook_is_an_error() -> None:
    kept: list[mosaic.Register] = []
    Registry().add(module(register_schedules=lambda register: kept.append(register)), plugin("d:p"))
    with pytest.raises(RuntimeError, match="over"):
        kept[0](schedule("late"))


@pytest.mark.parametrize(
    ("kind", "base", "method"), [("metric", mosaic.Metric, "__call__"), ("network", mosaic.Network, "build")]
)
def test_metrics_and_networks_register_by_their_hooks(kind: str, base: type, method: str) -> None:
    cls = type("Some", (base,), {"name": "some", method: lambda self, *args: None})
    registry = Registry()
    registry.add(module(**{f"register_{kind}s": lambda register: register(cls)}), plugin("d:p"))
    assert registry.get(kind, "some") is cls


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
    with pytest.raises(mosaic.UsageError, match="Did you mean 'schedule'"):
        registry.get("schedul", "cosine")
