"""The plugin system: hooks, the loader that survives broken plugins, and the registry of names.

pluggy's own entry-point loader stops at the first plugin with a bad hook signature and drops the second
of two distributions that use one entry-point name, so plugins are loaded here one by one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import Any, Protocol, TypeVar

import pluggy

from mosaic.dataset import DataSetOptions, DataSource
from mosaic.entry import Plugin, disabled_names, distribution_of, stated_requirement, suits_core
from mosaic.errors import PluginError, UsageError, did_you_mean
from mosaic.metric import Metric
from mosaic.network import Network
from mosaic.options import Options
from mosaic.schedule import NoiseSchedule
from mosaic.score import ScoreModel

__all__ = ["KINDS", "Plugin", "Register", "Registry", "hookimpl", "load_registry", "registry"]

GROUP = "mosaic"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

KINDS: dict[str, type] = {
    "schedule": NoiseSchedule,
    "score": ScoreModel,
    "dataset": DataSource,
    "metric": Metric,
    "network": Network,
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
    def before_run(self, config: Any) -> None:
        """Is called with the resolved `mosaic.RunConfig` before a run's first batch."""

    @hookspec
    def after_run(self, config: Any, trajectory: Any) -> None:
        """Is called with the configuration and the finished run's `xarray.Dataset`."""


HOOKS = tuple(name for name in vars(Hooks) if not name.startswith("_"))


@dataclass(frozen=True)
class _Registration:
    kind: str
    cls: type
    names: tuple[str, ...]


AnyType = TypeVar("AnyType", bound=type)


class Registry:
    """Names to plugin classes, per kind.

    Attributes
    ----------
    plugins : list[Plugin]
        Every entry point found, whatever became of it.
    hook : pluggy.HookRelay
        The lifecycle hooks of the active plugins.
    """

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._manager = _plugin_manager()
        self._classes: dict[tuple[str, str], type] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self._qualified: dict[tuple[str, str], type] = {}

    @property
    def hook(self) -> Any:
        """The lifecycle hooks of the active plugins."""
        return self._manager.hook

    def add(self, module: object, plugin: Plugin) -> None:
        """Register what `module` provides, all of it or nothing; `plugin` tells the outcome.

        A name that another plugin holds already breaks this one. Its classes are then to be had by
        `distribution:name` only.
        """
        self.plugins.append(plugin)
        try:
            staged = _stage(module, plugin.key)
        except (Exception, SystemExit) as error:  # whatever a third party's code raises must not take the rest down
            plugin.failed(error)
            return
        for entry in staged:
            for name in entry.names:
                self._qualified.setdefault((entry.kind, f"{plugin.distribution}:{name}"), entry.cls)
        taken = [(entry.kind, name) for entry in staged for name in entry.names if (entry.kind, name) in self._owners]
        if taken:
            kind, name = taken[0]
            plugin.broken(
                f"{kind} '{name}' is already provided by {self._owners[kind, name]}, so {plugin.key} was not activated",
                f"ask for '{plugin.distribution}:{name}' to use this one, or leave the other out",
            )
            return
        for entry in staged:
            for name in entry.names:
                self._classes[entry.kind, name] = entry.cls
                self._owners[entry.kind, name] = plugin.key
            plugin.provides.append(f"{entry.kind}:{entry.names[0]}")
        self._manager.register(module, name=plugin.key)

    def names(self, kind: str) -> list[str]:
        """List the names (and aliases) of a kind, sorted."""
        return sorted(name for k, name in self._classes if k == kind)

    def owner(self, kind: str, name: str) -> str:
        """Give the `distribution:entry` that provides a name."""
        return self._owners.get((kind, name)) or name.partition(":")[0]

    def get(self, kind: str, name: str) -> type[Any]:
        """Give the class registered under a name, or under `distribution:name`.

        Raises
        ------
        UsageError
            If `kind` is not one of `KINDS`.
        PluginError
            If no active plugin provides it, with the nearest name and the plugins that are broken.
        """
        if kind not in KINDS:
            raise UsageError(f"There is no kind '{kind}'.{did_you_mean(kind, KINDS)} Kinds: {', '.join(KINDS)}.")
        cls = self._classes.get((kind, name)) or self._qualified.get((kind, name))
        if cls is not None:
            return cls
        known = self.names(kind)
        broken = [p.key for p in self.plugins if p.status == "broken"]
        hint = f" Broken plugins ('mosaic plugins' tells why): {', '.join(broken)}." if broken else ""
        disabled = [p.key for p in self.plugins if p.status == "disabled"]
        hint += f" Disabled by MOSAIC_DISABLE_PLUGINS: {', '.join(disabled)}." if disabled else ""
        raise PluginError(
            f"There is no {kind} '{name}'.{did_you_mean(name, known)} There are: {', '.join(known) or 'none'}.{hint}"
        )


def _plugin_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    return manager


def _stage(module: object, key: str) -> list[_Registration]:
    """Call a plugin's registration hooks by themselves, and check all that it registers."""
    manager = _plugin_manager()
    manager.register(module, name=key)
    for name, value in vars(module).items():
        marked = hasattr(value, f"{GROUP}_impl")
        if marked and name not in HOOKS:
            raise TypeError(f"there is no hook '{name}'.{did_you_mean(name, HOOKS)}")
        if not marked and name in HOOKS and callable(value):
            raise TypeError(f"its '{name}' lacks the decorator @mosaic.hookimpl")
    staged: list[_Registration] = []
    closed = False
    for kind, base in KINDS.items():

        def register(
            cls: type,
            *,
            name: str | None = None,
            aliases: Iterable[str] = (),
            kind: str = kind,
            base: type = base,
        ) -> None:
            if closed:
                raise RuntimeError(f"register_{kind}s is over: register during the hook, not later")
            if not (isinstance(cls, type) and issubclass(cls, base)):
                raise TypeError(f"register_{kind}s takes subclasses of mosaic.{base.__name__}, not {cls!r}")
            if isabstract(cls):
                missing = ", ".join(sorted(cls.__abstractmethods__))  # type: ignore[attr-defined]
                raise TypeError(f"{cls.__name__} does not define {missing}")
            wanted = DataSetOptions if kind == "dataset" else Options
            if not issubclass(cls.Options, wanted):  # type: ignore[attr-defined]
                raise TypeError(f"{cls.__name__}.Options must be a subclass of mosaic.{wanted.__name__}")
            names = (name or getattr(cls, "name", ""), *aliases)
            for one in names:
                if not one or ":" in one or one != one.strip():
                    raise ValueError(f"{cls.__name__}: {one!r} is not a name (no spaces around, no ':')")
                if any(one in entry.names for entry in staged if entry.kind == kind):
                    raise ValueError(f"{kind} '{one}' is registered twice")
            staged.append(_Registration(kind, cls, names))

        getattr(manager.hook, f"register_{kind}s")(register=register)
    closed = True
    return staged


def load_registry(entries: Iterable[EntryPoint], disabled: Iterable[str] = ()) -> Registry:
    """Load plugins, each by itself: the built-ins first, then by distribution and name.

    Parameters
    ----------
    entries : iterable of EntryPoint
        Entry points of the group `mosaic`.
    disabled : iterable of str
        Keys (`distribution:entry`), distributions or entry names not to load.
    """
    result, skip = Registry(), set(disabled)

    def order(entry: EntryPoint) -> tuple[bool, str, str]:
        return distribution_of(entry)[0] != "mosaic-diffusion", distribution_of(entry)[0], entry.name

    for entry in sorted(entries, key=order):
        distribution, version = distribution_of(entry)
        plugin = Plugin(f"{distribution}:{entry.name}", distribution, version)
        if skip & {plugin.key, distribution, entry.name}:
            plugin.status = "disabled"
            result.plugins.append(plugin)
            continue
        begin = time.perf_counter()
        try:
            with redirect_stdout(sys.stderr):  # what a plugin prints must not get into a document on stdout
                module = entry.load()
        except BaseException as error:  # a plugin may even call sys.exit() at import
            if isinstance(error, KeyboardInterrupt):
                raise
            if suits_core(stated_requirement(entry), plugin):
                plugin.failed(error)
            result.plugins.append(plugin)
            continue
        plugin.seconds = round(time.perf_counter() - begin, 3)
        if suits_core(getattr(module, "requires_mosaic", None), plugin):
            result.add(module, plugin)
        else:
            result.plugins.append(plugin)
    return result


@cache
def registry() -> Registry:
    """Load every installed plugin, once; `MOSAIC_DISABLE_PLUGINS=a,b` leaves some out."""
    # A distribution can stand twice on the path (an editable install, say): the first one counts.
    unique = {(distribution_of(e)[0], e.name): e for e in reversed(list(entry_points(group=GROUP)))}
    return load_registry(unique.values(), disabled_names())
