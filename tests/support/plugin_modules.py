"""Modules of plugins, made in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mosaic
from mosaic.registry.registry import Plugin


def schedule(label: str) -> type[mosaic.NoiseSchedule]:
    class Constant(mosaic.NoiseSchedule):
        name = label

        def signal_noise(self, t: Any) -> Any:
            return t * 0 + 1, t + 0.1

    return Constant


def plugin(key: str) -> Plugin:
    return Plugin(key, key.partition(":")[0], "1.0")


def module(**hooks: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: mosaic.hookimpl(function) for name, function in hooks.items()})


def registering(*classes: type, **options: Any) -> SimpleNamespace:
    def register_schedules(register: mosaic.Register) -> None:
        for cls in classes:
            register(cls, **options)

    return module(register_schedules=register_schedules)
