"""The hooks of plugins, and the kinds of what they register."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import pluggy

from mosaic.interfaces.data_source import DataSource
from mosaic.interfaces.metric import Metric
from mosaic.interfaces.network import Network
from mosaic.interfaces.sampler import Sampler
from mosaic.interfaces.schedule import NoiseSchedule
from mosaic.interfaces.score import ScoreModel

__all__ = ["KINDS", "Register", "hookimpl"]


GROUP = "mosaic"


hookspec = pluggy.HookspecMarker(GROUP)


hookimpl = pluggy.HookimplMarker(GROUP)


KINDS: dict[str, type] = {
    "schedule": NoiseSchedule,
    "score": ScoreModel,
    "dataset": DataSource,
    "metric": Metric,
    "network": Network,
    "sampler": Sampler,
}


class Register(Protocol):
    """What a registration hook is given: call it once for each class."""

    def __call__(self, cls: type, *, name: str | None = None, aliases: Iterable[str] = ()) -> None:
        """Register `cls` under `name` (default: its `name` attribute) and `aliases`."""


class Hooks:
    """The hooks a plugin module may implement with `@mosaic.hookimpl`."""

    @hookspec
    def register_schedules(self, register: Register) -> None:
        """Register subclasses of `mosaic.NoiseSchedule`."""

    @hookspec
    def register_scores(self, register: Register) -> None:
        """Register subclasses of `mosaic.ScoreModel`."""

    @hookspec
    def register_datasets(self, register: Register) -> None:
        """Register subclasses of `mosaic.DataSource`."""

    @hookspec
    def register_metrics(self, register: Register) -> None:
        """Register subclasses of `mosaic.Metric`."""

    @hookspec
    def register_networks(self, register: Register) -> None:
        """Register subclasses of `mosaic.Network`."""

    @hookspec
    def register_samplers(self, register: Register) -> None:
        """Register subclasses of `mosaic.Sampler`."""

    @hookspec
    def before_run(self, config: Any) -> None:
        """Is called with the resolved `mosaic.RunConfig` before a run's first batch."""

    @hookspec
    def after_step(self, config: Any, step: Any) -> None:
        """Is called with the configuration and the `mosaic.Step` after each step of each batch; it changes neither."""

    @hookspec
    def after_run(self, config: Any, trajectory: Any) -> None:
        """Is called with the configuration and the finished run's `xarray.Dataset`."""


HOOKS = tuple(name for name in vars(Hooks) if not name.startswith("_"))
