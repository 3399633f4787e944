"""The registry: names of plugin classes, and the conditions for registering one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from inspect import isabstract
from typing import Any

import pluggy

from mosaic.errors import MosaicError, PluginError, UsageError, did_you_mean, no_exit
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.html import table
from mosaic.registry.hooks import GROUP, HOOKS, KINDS, Hooks
from mosaic.registry.plugin import Plugin

__all__ = ["Registry"]


@dataclass(frozen=True)
class Registration:
    """A class that a plugin registers, under its name and aliases."""

    kind: str
    cls: type
    names: tuple[str, ...]


@dataclass
class Registrar:
    """What a registration hook is given as `register`: it checks each class and records it.

    Attributes
    ----------
    kind : str
        Kind of the hook, one of `KINDS`.
    registrations : list
        Of all hooks of the plugin so far.
    is_open : bool
        Whether the hook is still running.
    """

    kind: str
    registrations: list[Registration]
    is_open: bool = field(default=True, init=False)

    def __call__(self, cls: type, *, name: str | None = None, aliases: Iterable[str] = ()) -> None:
        """Register a class under `name` (default: its `name` attribute) and `aliases`.

        Raises
        ------
        RuntimeError, TypeError, ValueError
            If the hook has returned, the class is not of the hook's kind, or a name cannot be used.
        """
        kind, base = self.kind, KINDS[self.kind]
        if not self.is_open:
            raise RuntimeError(f"register_{kind}s is over: register during the hook, not later")
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise TypeError(f"register_{kind}s takes subclasses of mosaic.{base.__name__}, not {cls!r}")
        if isabstract(cls):
            missing = ", ".join(sorted(cls.__abstractmethods__))  # type: ignore[attr-defined]
            raise TypeError(f"{cls.__name__} does not define {missing}")
        wanted = base.Options  # type: ignore[attr-defined]
        if not issubclass(cls.Options, wanted):  # type: ignore[attr-defined]
            raise TypeError(f"{cls.__name__}.Options must be a subclass of mosaic.{wanted.__name__}")
        names = (name or getattr(cls, "name", ""), *aliases)
        for each in names:
            if not each or ":" in each or each != each.strip():
                raise ValueError(f"{cls.__name__}: {each!r} is not a name (no spaces around, no ':')")
            if any(each in known.names for known in self.registrations if known.kind == kind):
                raise ValueError(f"{kind} '{each}' is registered twice")
        self.registrations.append(Registration(kind, cls, names))


class Registry:
    """Names to plugin classes, per kind.

    Attributes
    ----------
    plugins : list[Plugin]
        Every entry point found, with its status.
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
        """Caller of the active plugins' lifecycle hooks, by name: `hook.before_run(config=...)`."""
        return self._manager.hook

    def __repr__(self) -> str:
        counts = (f"{len(self.names(kind))} {kind}s" for kind in KINDS)
        return f"Registry({', '.join(counts)}, from {len(self.plugins)} plugins)"

    def _repr_html_(self) -> str:
        rows: dict[str, str] = {}
        for kind in KINDS:
            names: dict[str, list[str]] = {}
            for name in self.names(kind):
                names.setdefault(self.owner(kind, name), []).append(name)
            rows[kind] = "\n".join(f"{', '.join(theirs)} ({owner})" for owner, theirs in names.items())
        broken = [f"{plugin.key}: {plugin.error}" for plugin in self.plugins if plugin.status == "broken"]
        return table("Registry: names by kind (plugin)", {**rows, "broken": "\n".join(broken) or None})

    def add(self, module: object, plugin: Plugin) -> None:
        """Register what `module` provides, all of it or nothing; `plugin` records the outcome.

        A name that another plugin holds already breaks this one. Its classes are then available as
        `distribution:name` only.
        """
        self.plugins.append(plugin)
        try:
            registrations = _registrations_of(module, plugin.key)
        except (Exception, SystemExit) as error:  # an error in a third party's code must not stop the other plugins
            plugin.failed(error)
            return
        for entry in registrations:
            for name in entry.names:
                self._qualified.setdefault((entry.kind, f"{plugin.distribution}:{name}"), entry.cls)
        taken = [
            (entry.kind, name) for entry in registrations for name in entry.names if (entry.kind, name) in self._owners
        ]
        if taken:
            kind, name = taken[0]
            plugin.broken(
                f"{kind} '{name}' is already provided by {self._owners[kind, name]}, so {plugin.key} was not activated",
                f"ask for '{plugin.distribution}:{name}' to use this one, or leave the other out",
            )
            return
        for entry in registrations:
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

    @checked()
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
        hint = f" Broken plugins: {', '.join(broken)}." if broken else ""
        disabled = [p.key for p in self.plugins if p.status == "disabled"]
        hint += f" Disabled by MOSAIC_DISABLE_PLUGINS: {', '.join(disabled)}." if disabled else ""
        raise PluginError(
            f"There is no {kind} '{name}'.{did_you_mean(name, known)} There are: {', '.join(known) or 'none'}.{hint}"
        )

    def parse(self, kind: str, name: str, values: Mapping[str, Any]) -> Any:
        """Validate the options of a plugin.

        Raises
        ------
        UsageError, PluginError
            If an option cannot be used, or nothing is registered under this name.
        """
        return self.get(kind, name).Options.parse(values, f"{kind}.{name}")

    def make(self, kind: str, name: str, values: Mapping[str, Any], *arguments: Any) -> Any:
        """Make an object of a plugin class: its options first, then further arguments of the constructor.

        Raises
        ------
        UsageError, PluginError
            As `parse`.
        """
        with no_exit(f"{kind} '{name}'"):
            return self.get(kind, name)(self.parse(kind, name, values), *arguments)

    def chosen_text(self, kind: str, name: str, values: Mapping[str, Any]) -> str:
        """Write for a message how a plugin is chosen: its name, and the options that differ from the defaults."""
        try:
            differing = self.parse(kind, name, values).model_dump(mode="json", exclude_defaults=True)
        except MosaicError:  # options of another version, or of an object that is not registered
            differing = {}
        texts = {key: ",".join(map(str, each)) if isinstance(each, list) else each for key, each in differing.items()}
        return f"`{kind}` {name}" + "".join(f" `{kind}.{key}={text}`" for key, text in texts.items())

    def default_metrics(self) -> list[str]:
        """Names of the metrics that a comparison uses by default, in the order they were registered."""
        return [name for (kind, name), cls in self._classes.items() if kind == "metric" and cls.by_default]  # type: ignore[attr-defined]

    def agreement_metrics(self) -> list[str]:
        """Names of the default metrics that compare images with others; the first is the one to show or rank by.

        Raises
        ------
        PluginError
            If no active plugin provides one.
        """
        names = [name for name in self.default_metrics() if self.get("metric", name).compares]
        if not names:
            raise PluginError("No active plugin provides a metric that compares images.")
        return names

    def checkpoint_score(self) -> str:
        """Name of the score model that runs what `mosaic.train` makes: the first that needs a path `checkpoint`.

        Raises
        ------
        PluginError
            If no active plugin provides one.
        """
        for (kind, name), cls in self._classes.items():
            if kind != "score" or "checkpoint" not in cls.path_options:  # type: ignore[attr-defined]
                continue
            if cls.Options.model_fields["checkpoint"].is_required():  # type: ignore[attr-defined]
                return name
        raise PluginError("No active plugin provides a score model that runs checkpoints.")


def _plugin_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    return manager


def _registrations_of(module: object, key: str) -> list[Registration]:
    """Call the registration hooks of one plugin, and check everything that it registers."""
    manager = _plugin_manager()
    manager.register(module, name=key)
    for name, value in vars(module).items():
        marked = hasattr(value, f"{GROUP}_impl")
        if marked and name not in HOOKS:
            raise TypeError(f"there is no hook '{name}'.{did_you_mean(name, HOOKS)}")
        if not marked and name in HOOKS and callable(value):
            raise TypeError(f"its '{name}' lacks the decorator @mosaic.hookimpl")
    registrations: list[Registration] = []
    for kind in KINDS:
        register = Registrar(kind, registrations)
        getattr(manager.hook, f"register_{kind}s")(register=register)
        register.is_open = False
    return registrations
