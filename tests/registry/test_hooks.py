"""The hooks of plugins: for each kind of plugin to register, and around each run."""

from __future__ import annotations

from typing import Any

import pytest
from plugin_modules import module, plugin

import mosaic
from mosaic.registry.hooks import HOOKS, KINDS
from mosaic.registry.registry import Registry

METHODS = {
    "schedule": "signal_noise",
    "score": "denoise",
    "dataset": "read",
    "metric": "__call__",
    "network": "build",
    "sampler": "flow",
}


def test_lifecycle_hooks_are_called_with_the_run(tiny: mosaic.DataSet) -> None:
    calls: list[tuple[str, Any]] = []
    observer = module(
        before_run=lambda config: calls.append(("before", config.steps)),
        after_step=lambda config, step: calls.append((config.sampler, (step.index, len(step.state)))),
        after_run=lambda config, trajectory: calls.append(("after", trajectory.sizes["step"])),
    )
    registry = mosaic.registry()
    registry._manager.register(observer, name="observer")
    try:
        mosaic.run(score="is", dataset=tiny, steps=2, samples=3, batch_size=2)
    finally:
        registry._manager.unregister(observer)
    steps = [("ddim", (index, samples)) for samples in (2, 1) for index in (0, 1)]  # two batches
    assert calls == [("before", 2), *steps, ("after", 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_of_each_kind_registers_by_its_own_hook_and_by_no_other(kind: str) -> None:
    cls = type("Made", (KINDS[kind],), {"name": "made", METHODS[kind]: lambda self, *args: None})
    for other in KINDS:
        registry = Registry()
        registry.add(module(**{f"register_{other}s": lambda register: register(cls)}), plugin("d:p"))
        if other == kind:
            assert registry.get(kind, "made") is cls
        else:
            assert registry.plugins[0].status == "broken"
            assert KINDS[other].__name__ in registry.plugins[0].error


def test_there_is_a_hook_for_every_kind_beside_those_of_a_run() -> None:
    assert set(HOOKS) == {f"register_{kind}s" for kind in KINDS} | {"before_run", "after_step", "after_run"}
