"""Settings: one validated model, layered from defaults, environment, file and arguments."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mosaic.errors import UsageError, did_you_mean
from mosaic.interfaces.options import Options
from mosaic.run.configuration import as_text

__all__ = [
    "from_environment",
    "from_file",
    "layered",
    "plugin_options",
    "refuse_unused",
    "sections_of",
    "setting_names",
    "with_owners",
]


Config = TypeVar("Config", bound=Options)

# Layers hold options that name no kind here: of -o, and of the environment, which other commands read, too.
UNNAMED, IF_ANY = "options", "options_if_any"

# Kinds of plugin that configurations name.
SECTIONS = ("score", "dataset", "schedule", "network", "sampler")


def sections_of(model: type[Options]) -> tuple[str, ...]:
    """Kinds of plugin that a configuration names, and has options for: `score`, `dataset`, ..."""
    return tuple(name.removesuffix("_options") for name in model.model_fields if name.endswith("_options"))


def setting_names(model: type[Options]) -> list[str]:
    """Names of a configuration's settings, the plugins' options aside."""
    return [name for name in model.model_fields if not name.endswith("_options")]


def from_environment(model: type[Options], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read the settings that variables give: `MOSAIC_STEPS=50`, `MOSAIC_OPTIONS="score.boundary=zeros ..."`.

    Options of kinds that `model` does not use are ignored: they are meant for other commands. So are options without a
    kind that no plugin of the command has, but another plugin.
    """
    environ = os.environ if environ is None else environ
    variables = {name: environ.get(f"MOSAIC_{name.upper()}") for name in setting_names(model)}
    sections = sections_of(model)
    foreign = tuple(f"{kind}." for kind in SECTIONS if kind not in sections)
    pairs = [pair for pair in environ.get("MOSAIC_OPTIONS", "").split() if not pair.startswith(foreign)]
    options: dict[str, Any] = plugin_options(pairs, sections)
    if UNNAMED in options:
        options[IF_ANY] = options.pop(UNNAMED)
    return {**{name: value for name, value in variables.items() if value}, **options}


def plugin_options(pairs: Sequence[str], sections: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort `score.boundary=zeros` and the like into `score_options` and so on, and `boundary=zeros` into `options`.

    Raises
    ------
    UsageError
        If a pair is not KIND.OPTION=VALUE or OPTION=VALUE, or its kind is not in `sections`.
    """
    layer: dict[str, dict[str, str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        section, dot, option = key.strip().partition(".") if "." in key else ("", "", key.strip())
        if not (equals and option):
            raise UsageError(f"Option '{pair}' must read KIND.OPTION=VALUE, for example dataset.limit=500.")
        if dot and section not in sections:
            hint = f"{did_you_mean(section, sections)} Kinds: {', '.join(sections)}."
            raise UsageError(f"Option '{pair}': there is no kind '{section}'.{hint}")
        layer.setdefault(f"{section}_options" if dot else UNNAMED, {})[option] = value
    return layer


def with_owners(layer: Mapping[str, Any], plugins: Mapping[str, type[Options]]) -> dict[str, Any]:
    """Sort the options of a layer that name no kind to the one of these plugins that has them.

    Raises
    ------
    UsageError
        If several have it, or none; or the layer gives it by its kind, too, with another value.
    """
    sorted_layer = {key: value for key, value in layer.items() if key not in (UNNAMED, IF_ANY)}
    for option, value in _unnamed(layer, plugins):
        owner = _owner_of(option, plugins)
        key, named = f"{owner}_options", sorted_layer.get(f"{owner}_options", {})
        if named.get(option, value) != value:
            raise UsageError(f"Options '{option}' and '{owner}.{option}' are the same one; give it once.")
        sorted_layer[key] = {option: value, **named}
    return sorted_layer


def _unnamed(layer: Mapping[str, Any], plugins: Mapping[str, type[Options]]) -> list[tuple[str, Any]]:
    """List the options of a layer that name no kind, but those that are meant for another command."""
    if_any = layer.get(IF_ANY, {})
    if if_any:
        from mosaic.registry.loading import registry

        used = {name for options in plugins.values() for name in options.model_fields}
        other = {
            name
            for kind in SECTIONS
            for plugin in registry().names(kind)
            for name in registry().get(kind, plugin).Options.model_fields
        }
        if_any = {option: value for option, value in if_any.items() if option in used or option not in other}
    return [*if_any.items(), *layer.get(UNNAMED, {}).items()]


def _owner_of(option: str, plugins: Mapping[str, type[Options]]) -> str:
    owners = [name for name, options in plugins.items() if option in options.model_fields]
    if len(owners) == 1:
        return owners[0]
    if owners:
        raise UsageError(
            f"Option '{option}' could be {' or '.join(f'{owner}.{option}' for owner in owners)}; write which."
        )
    known = [f"{name}.{each}" for name, options in plugins.items() for each in options.model_fields]
    meant = {each.partition(".")[2]: each for each in reversed(known)}
    raise UsageError(
        f"No plugin that is used here has an option '{option}'.{did_you_mean(option, meant)} Options: "
        f"{', '.join(known) or 'none'}."
    )


def from_file(path: Path, model: type[Options], sections: Sequence[str] | None = None) -> dict[str, Any]:
    """Read a TOML file: settings at the top, options in tables.

    A table such as `[score]` holds the score model's options, and may hold its `name`. `sections` are the allowed
    tables; by default the kinds of plugin that the configuration names.

    Raises
    ------
    UsageError
        If it cannot be read, or has an unknown key.
    """
    if path.is_dir():
        raise UsageError(f"Configuration file '{path}' is a folder.")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors may write a mark of byte order
    except RecursionError:
        raise UsageError(f"Configuration file '{path}' cannot be read: it is nested too deeply.") from None
    except (OSError, ValueError) as error:  # also where it is not UTF-8, or a number has thousands of digits
        raise UsageError(f"Configuration file '{path}' cannot be read: {error}.") from None
    values: dict[str, Any] = {}
    known, sections = setting_names(model), tuple(sections_of(model) if sections is None else sections)
    for key, value in document.items():
        if key in sections and isinstance(value, dict):
            table = dict(value)
            if "name" in table:
                values[key] = table.pop("name")
            values[f"{key}_options"] = table
        elif key in known:
            values[key] = value
        else:
            raise UsageError(
                f"Configuration file '{path}' has an unknown key '{key}'.{did_you_mean(key, known)} "
                f"Keys: {', '.join(known)}; tables: {', '.join(f'[{s}]' for s in sections)}."
            )
    return values


def refuse_unused(unused: Mapping[str, object], why: str) -> None:
    """Refuse arguments that are given, and would not be used.

    Raises
    ------
    UsageError
        With their names.
    """
    if given := [f"`{name}`" for name, value in unused.items() if not _is_empty(value)]:
        them = "it" if len(given) == 1 else "them"
        raise UsageError(f"{' and '.join(given)} would not be used: {why}; leave {them} out.")


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, (bool, int, str, Mapping)) and not value)


def layered(model: type[Config], *layers: Mapping[str, Any]) -> Config:
    """Validate a configuration made of layers, later ones over earlier ones; options merge key by key.

    Options given for a plugin by an earlier layer are dropped where a later layer names another plugin. Options that
    name no kind are those of the plugins that are named in the end.
    """
    kept, names = _for_named_plugins(
        model, [{key: as_text(model, key, layer[key]) for key in layer} for layer in layers]
    )
    if any({UNNAMED, IF_ANY} & layer.keys() for layer in kept):
        plugins = _plugins_of(names)
        kept = [with_owners(layer, plugins) for layer in kept]
    merged: dict[str, Any] = {}
    for layer in kept:
        for key, value in layer.items():
            is_table = key.endswith("_options") and isinstance(value, Mapping)
            merged[key] = {**merged.get(key, {}), **value} if is_table else value
    return model.parse(merged, model.__name__.removesuffix("Config").lower())


def _for_named_plugins(
    model: type[Options], layers: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Drop the options of plugins that later layers replace; also give the plugins that are named, by kind."""
    kept: list[dict[str, Any]] = []
    # A leaderboard has options of a data set that it does not name.
    names = {kind: model.model_fields[kind].default for kind in sections_of(model) if kind in model.model_fields}
    for layer in layers:
        for kind in names.keys() & layer.keys():
            if names[kind] != layer[kind]:
                for earlier in kept:
                    earlier.pop(f"{kind}_options", None)
            names[kind] = layer[kind]
        kept.append(dict(layer))
    return kept, names


def _plugins_of(names: Mapping[str, Any]) -> dict[str, type[Options]]:
    """Give the options of plugins, by their kinds."""
    from mosaic.registry.loading import registry  # it loads torch, which commands do later

    return {kind: registry().get(kind, name).Options for kind, name in names.items() if isinstance(name, str)}
