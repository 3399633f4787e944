"""The configuration of a command: one validated model, layered from defaults, environment, file and flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from mosaic.errors import UsageError, did_you_mean
from mosaic.options import Options

__all__ = ["RunConfig", "from_environment", "from_file", "layered", "plugin_options", "sections_of", "setting_names"]

Config = TypeVar("Config", bound=Options)

KINDS = ("score", "dataset", "schedule", "network")


class RunConfig(Options):
    """What is run: every setting that decides the numbers of a run."""

    score: str = Field("els", description="Score model.")
    dataset: str = Field("digits", description="Training set.")
    schedule: str = Field("cosine", description="Noise schedule.")
    score_options: dict[str, Any] = Field({}, description="Options of the score model.")
    dataset_options: dict[str, Any] = Field({}, description="Options of the training set.")
    schedule_options: dict[str, Any] = Field({}, description="Options of the noise schedule.")
    scales: str | None = Field(
        None,
        description="Locality scales: a preset such as paper/mnist-resnet-zeros, a list 3,3,5,... of one entry a step "
        "(lowest noise first), one number, or a file (.json, .nc). Default: the data set's own preset, else from about "
        "half the image at t = 1 to 3 at t = 0.",
    )
    sampler: Literal["ddim", "ddpm"] = Field(
        "ddim", description="Reverse flow: deterministic DDIM, or DDPM ancestral sampling."
    )
    steps: int = Field(20, ge=1, le=100_000, description="Steps of the reverse flow.")
    samples: int | None = Field(None, ge=1, description="Samples to make. Default: 4, or all that --init holds.")
    batch_size: int = Field(8, ge=1, description="Samples computed together, and stored as one part.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the noise (and of random labels).")
    labels: str | None = Field(
        None,
        description="Classes: none, random, or a list 0,3,7,... of one label a sample (or one for all). A sample with "
        "a label meets the training images of that class only. Default: none, or those of --init.",
    )
    init: str | None = Field(
        None,
        description="Start from the noise and labels of another run (.nc), or from an array of standard normal noise "
        "(.npy, shape samples, channels, height, width).",
    )
    save: str | None = Field(
        None,
        description="What to keep beside states and means: none, or a list of provenance (which training pixel each "
        "final pixel is, and the best candidate at --save-steps), entropy, n_eff, score. Default: provenance, where "
        "the score model can tell.",
    )
    save_steps: str = Field(
        "last", description="Steps to keep it at: last, all, or a list such as 0,10,19 (0 at noise)."
    )
    device: str = Field(
        "auto", description="Torch device: auto (cuda where there is one, else cpu), cpu, cuda, mps, ..."
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="Precision of the computation.")


def sections_of(model: type[Options]) -> tuple[str, ...]:
    """Kinds of plugin that a configuration names, and has options for: `score`, `dataset`, ..."""
    return tuple(name.removesuffix("_options") for name in model.model_fields if name.endswith("_options"))


def setting_names(model: type[Options]) -> list[str]:
    """Names of a configuration's settings, the plugins' options aside."""
    return [name for name in model.model_fields if not name.endswith("_options")]


def from_environment(model: type[Options], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read the settings that variables give: `MOSAIC_STEPS=50`, `MOSAIC_OPTIONS="score.boundary=zeros ..."`.

    Options of kinds that `model` has no use for are left aside: another command may have.
    """
    environ = os.environ if environ is None else environ
    variables = {name: environ.get(f"MOSAIC_{name.upper()}") for name in setting_names(model)}
    sections = sections_of(model)
    foreign = tuple(f"{kind}." for kind in KINDS if kind not in sections)
    pairs = [pair for pair in environ.get("MOSAIC_OPTIONS", "").split() if not pair.startswith(foreign)]
    return {**{name: value for name, value in variables.items() if value}, **plugin_options(pairs, sections)}


def plugin_options(pairs: Sequence[str], sections: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort `score.boundary=zeros` and the like into `score_options` and so on.

    Raises
    ------
    UsageError
        If a pair does not read KIND.OPTION=VALUE, or its kind is none of `sections`.
    """
    layer: dict[str, dict[str, str]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        section, dot, option = key.strip().partition(".")
        if not (equals and dot and option):
            raise UsageError(f"-o '{pair}' must read KIND.OPTION=VALUE, for example dataset.limit=500.")
        if section not in sections:
            known = ", ".join(sections)
            raise UsageError(f"-o '{pair}': no kind '{section}'.{did_you_mean(section, sections)} Kinds: {known}.")
        layer.setdefault(f"{section}_options", {})[option] = value
    return layer


def from_file(path: Path, model: type[Options]) -> dict[str, Any]:
    """Read a TOML file: settings at the top, options in tables.

    A table such as `[score]` holds the score model's options, and may hold its `name`.

    Raises
    ------
    UsageError
        If it cannot be read, or has an unknown key.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Configuration file '{path}' cannot be read: {error}.") from None
    values: dict[str, Any] = {}
    known, sections = setting_names(model), sections_of(model)
    for key, value in document.items():
        if key in sections and isinstance(value, dict):
            table = dict(value)
            if "name" in table:
                values[key] = table.pop("name")
            values[f"{key}_options"] = table
        elif key in known:
            values[key] = ",".join(map(str, value)) if isinstance(value, list) else value
        else:
            raise UsageError(
                f"Configuration file '{path}' has an unknown key '{key}'.{did_you_mean(key, known)} "
                f"Keys: {', '.join(known)}; tables: {', '.join(f'[{s}]' for s in sections)}."
            )
    for text in ("scales", "labels", "sizes"):
        if text in values:
            values[text] = str(values[text])
    return values


def layered(model: type[Config], *layers: Mapping[str, Any]) -> Config:
    """Validate a configuration made of layers, later ones over earlier ones; options merge key by key.

    Options given for a plugin by an earlier layer are dropped where a later layer names another plugin.
    """
    sections = sections_of(model)
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if key in sections and merged.get(key, model.model_fields[key].default) != value:
                merged.pop(f"{key}_options", None)
        for key, value in layer.items():
            merged[key] = {**merged.get(key, {}), **value} if key.endswith("_options") else value
    return model.parse(merged, model.__name__.removesuffix("Config").lower())
