"""Settings of a command: a flag for every field of its configuration, `-o` for plugins' options, and --config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from mosaic.errors import UsageError
from mosaic.interfaces.options import Options
from mosaic.run.configuration import OTHERS
from mosaic.run.settings import from_environment, from_file, layered, plugin_options, sections_of, setting_names
from mosaic_cli.data_options import PATH
from mosaic_cli.terminal import in_flags

__all__ = ["configured", "layers_of", "settings"]

Command = TypeVar("Command", bound=Callable[..., Any])
Config = TypeVar("Config", bound=Options)

NAMED = re.compile(r"([\w.:-]+)=(.+)", re.DOTALL)  # a file whose name has "=" in it is written ./a=b.nc

METAVARS = {
    "checkpoint": "DIR",
    "network": "DIR",
    "init": "FILE",
    "device": "DEVICE",
    "scales": "SPEC",
    "labels": "SPEC",
    "sizes": "LIST",
    "rows": "LIST",
    "scores": "LIST",
    "metrics": "LIST",
}


def _complete(model: type[Options]) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        name = parameter.name or ""
        annotation = model.model_fields[name].annotation
        known: list[str] = []
        if get_origin(annotation) is Literal:
            known = list(get_args(annotation))
        elif name == "scales":
            from mosaic.sampling.scales import preset_names

            known = preset_names()
        elif name in sections_of(model):
            from mosaic.registry.loading import registry

            known = registry().names(name)
        return [CompletionItem(value) for value in known if value.startswith(incomplete)]

    return complete


def _metavar(name: str, annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if int in (annotation, *get_args(annotation)):
        return "N"
    return METAVARS.get(name, "X" if annotation is float else "NAME")


def _is_by_name(model: type[Options], name: str) -> bool:
    """Whether a setting may be given several times, as NAME=TEXT."""
    return dict[str, str] in get_args(model.model_fields[name].annotation)


def _is_several(model: type[Options], name: str) -> bool:
    """Whether a setting may be given several times, each an item of a list."""
    return get_origin(model.model_fields[name].annotation) is tuple


def _by_name(flag: str, texts: Sequence[str]) -> str | dict[str, str] | None:
    """Sort what a flag was given several times into a mapping; without a name, it is for all others.

    Raises
    ------
    UsageError
        If a name is given twice.
    """
    named: dict[str, str] = {}
    for text in texts:
        match = NAMED.fullmatch(text)
        name, value = (match[1], match[2]) if match else (OTHERS, text)
        if name in named:
            whose = "all others" if name == OTHERS else f"'{name}'"
            raise UsageError(f"`{flag}` is given twice for {whose}: '{named[name]}' and '{value}'; give it once.")
        named[name] = value
    return named.get(OTHERS) if named.keys() <= {OTHERS} else named


def _given(model: type[Options], name: str, texts: tuple[str, ...]) -> tuple[str, ...] | str | dict[str, str] | None:
    """What a flag was given several times, as the setting takes it; None where it was not given."""
    return _by_name(name, texts) if _is_by_name(model, name) else texts or None


def settings(model: type[Options], *, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add -o, --config, and a flag for every setting of `model` but those in `without`, described by its field."""

    def add(command: Command) -> Command:
        add_config = click.option("--config", type=PATH, help="TOML file of settings; flags go before it.")
        add_options = click.option(
            "-o",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="An option of a plugin, e.g. dataset.limit=500, or limit=500 where only one that is used has it.",
        )
        command = add_options(add_config(command))
        for name in reversed([name for name in setting_names(model) if name not in without]):
            field, by_name = model.model_fields[name], _is_by_name(model, name)
            known = "required" if field.is_required() else f"default: {field.default}"
            default = "" if field.default is None else f"  [{known}]"
            command = click.option(
                f"--{name.replace('_', '-')}",
                metavar=f"[NAME=]{_metavar(name, field.annotation)}" if by_name else _metavar(name, field.annotation),
                multiple=by_name or _is_several(model, name),
                help=in_flags(f"{field.description}{default}", setting_names(model)),
                shell_complete=_complete(model),
            )(command)
        return command

    return add


def layers_of(
    model: type[Options],
    flags: Mapping[str, str | tuple[str, ...] | None],
    options: tuple[str, ...],
    config: Path | None,
    kept: Mapping[str, Any] | None = None,
    sections: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Settings from the environment, what is resumed, the file and the flags, in rising order of precedence.

    Parameters
    ----------
    flags : mapping
        What was given on the command line, by the names of settings; None where it was not.
    options : tuple of str
        What -o was given.
    config : Path, optional
        What --config was given.
    kept : mapping, optional
        Settings of what is resumed.
    sections : sequence of str, optional
        Kinds or plugins that -o, and tables of the file, may name; by default those that `model` has options of.

    Raises
    ------
    UsageError
        For a file that cannot be read, or an unknown key.
    """
    known = tuple(sections_of(model) if sections is None else sections)
    given = {name: _given(model, name, value) if isinstance(value, tuple) else value for name, value in flags.items()}
    return [
        from_environment(model),
        dict(kept or {}),
        from_file(config, model, known) if config is not None else {},
        {**{name: value for name, value in given.items() if value is not None}, **plugin_options(options, known)},
    ]


def configured(
    model: type[Config],
    flags: Mapping[str, str | None],
    options: tuple[str, ...],
    config: Path | None,
    kept: Mapping[str, Any] | None = None,
) -> Config:
    """Validate the settings that `layers_of` gives.

    Raises
    ------
    UsageError
        For whatever cannot be used; nothing heavy has been imported by then.
    """
    return layered(model, *layers_of(model, flags, options, config, kept))
