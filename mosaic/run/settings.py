"""Settings: one validated model, layered from defaults, environment, file and arguments."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from mosaic.errors import UsageError, did_you_mean
from mosaic.interfaces.options import Options

__all__ = [
    "as_text",
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


def as_text(model: type[Options], key: str, value: Any) -> Any:
    """Write a value as the text that a setting takes: a list as `1,2,3`, a number, a path or a torch device as itself.

    What is neither stays as it is, for the model to refuse.
    """
    annotation = model.model_fields[key].annotation if key in model.model_fields else None
    takes_text = annotation is str or (get_origin(annotation) is UnionType and str in get_args(annotation))
    if key == "dtype":
        return _name_of_type(value)
    if value is None or not takes_text:
        return value
    if key == "scales" and not isinstance(value, (str, Real, PathLike, list, tuple)):
        from mosaic.sampling.scales import scales_as_text  # it loads torch, which commands do later

        value = scales_as_text(value)
    plain = value.to_numpy() if hasattr(value, "to_numpy") else value  # of xarray or pandas
    plain = plain.tolist() if hasattr(plain, "tolist") else plain  # an array or a tensor, or a number of one
    items = plain if isinstance(plain, (list, tuple, range)) else [plain]
    if not all(isinstance(item, (str, Real, PathLike)) or _is_of_torch(item, "device") for item in items):
        return value
    try:
        text = ",".join(map(_item_as_text, items))
    except ValueError:  # a number of more digits than Python prints
        return value
    if not text.strip():
        raise UsageError(f"`{key}` is empty; leave it out, or say what it is.")
    return text


def _item_as_text(item: Any) -> str:
    """Write an item of a list; floating-point numbers that are whole as integers."""
    is_whole = isinstance(item, Real) and not isinstance(item, Integral) and float(item).is_integer()
    return str(int(item) if is_whole else item)


def _name_of_type(value: Any) -> Any:
    """Name of a type of torch, numpy or Python, such as float64; anything else as it is."""
    if _is_of_torch(value, "dtype"):
        return str(value).removeprefix("torch.")
    import numpy as np  # commands load it later

    return np.dtype(value).name if isinstance(value, (type, np.dtype)) else value


def _is_of_torch(value: Any, kind: str) -> bool:
    return (type(value).__module__, type(value).__name__) == ("torch", kind)
