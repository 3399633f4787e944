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
]


Config = TypeVar("Config", bound=Options)

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

    Options of kinds that `model` does not use are ignored: they are meant for other commands.
    """
    environ = os.environ if environ is None else environ
    variables = {name: environ.get(f"MOSAIC_{name.upper()}") for name in setting_names(model)}
    sections = sections_of(model)
    foreign = tuple(f"{kind}." for kind in SECTIONS if kind not in sections)
    pairs = [pair for pair in environ.get("MOSAIC_OPTIONS", "").split() if not pair.startswith(foreign)]
    return {**{name: value for name, value in variables.items() if value}, **plugin_options(pairs, sections)}


def plugin_options(pairs: Sequence[str], sections: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort `score.boundary=zeros` and the like into `score_options` and so on.

    Raises
    ------
    UsageError
        If a pair is not KIND.OPTION=VALUE, or its kind is not in `sections`.
    """
    layer: dict[str, dict[str, str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        section, dot, option = key.strip().partition(".")
        if not (equals and dot and option):
            raise UsageError(f"Option '{pair}' must read KIND.OPTION=VALUE, for example dataset.limit=500.")
        if section not in sections:
            hint = f"{did_you_mean(section, sections)} Kinds: {', '.join(sections)}."
            raise UsageError(f"Option '{pair}': there is no kind '{section}'.{hint}")
        layer.setdefault(f"{section}_options", {})[option] = value
    return layer


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

    Options given for a plugin by an earlier layer are dropped where a later layer names another plugin.
    """
    sections = sections_of(model)
    merged: dict[str, Any] = {}
    for layer in ({key: as_text(model, key, value) for key, value in layer.items()} for layer in layers):
        for key, value in layer.items():
            known = model.model_fields.get(key)  # a leaderboard has options of a data set that it does not name
            if key in sections and known is not None and merged.get(key, known.default) != value:
                merged.pop(f"{key}_options", None)
        for key, value in layer.items():
            is_table = key.endswith("_options") and isinstance(value, Mapping)
            merged[key] = {**merged.get(key, {}), **value} if is_table else value
    return model.parse(merged, model.__name__.removesuffix("Config").lower())
