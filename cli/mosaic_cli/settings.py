"""Settings of a command: a flag for every field of its configuration, `-o` for plugins' options, and --config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from mosaic.config import from_environment, from_file, layered, plugin_options, sections_of, setting_names
from mosaic.options import Options

__all__ = ["layers_of", "settings"]

Command = TypeVar("Command", bound=Callable[..., Any])

METAVARS = {
    "checkpoint": "DIR",
    "init": "FILE",
    "device": "DEVICE",
    "scales": "SPEC",
    "labels": "SPEC",
    "sizes": "LIST",
}


def _complete(model: type[Options]) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        name = parameter.name or ""
        annotation = model.model_fields[name].annotation
        known: list[str] = []
        if get_origin(annotation) is Literal:
            known = list(get_args(annotation))
        elif name == "scales":
            from mosaic.scales import preset_names

            known = preset_names()
        elif name in sections_of(model):
            from mosaic.plugins import registry

            known = registry().names(name)
        return [CompletionItem(one) for one in known if one.startswith(incomplete)]

    return complete


def _metavar(name: str, annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if int in (annotation, *get_args(annotation)):
        return "N"
    return METAVARS.get(name, "X" if annotation is float else "NAME")


def settings(model: type[Options], *, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add -o, --config, and a flag for every setting of `model` but those in `without`, described by its field."""

    def add(command: Command) -> Command:
        add_config = click.option(
            "--config", type=click.Path(path_type=Path), help="TOML file of settings; flags go before it."
        )
        add_options = click.option(
            "-o",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="An option of a plugin, e.g. dataset.limit=500.",
        )
        command = add_options(add_config(command))
        for name in reversed([name for name in setting_names(model) if name not in without]):
            field = model.model_fields[name]
            known = "required" if field.is_required() else f"default: {field.default}"
            default = "" if field.default is None else f"  [{known}]"
            command = click.option(
                f"--{name.replace('_', '-')}",
                metavar=_metavar(name, field.annotation),
                help=f"{field.description}{default}",
                shell_complete=_complete(model),
            )(command)
        return command

    return add


def layers_of(
    model: type[Options], flags: Mapping[str, str | None], options: tuple[str, ...], config: Path | None
) -> list[dict[str, Any]]:
    """Settings from the environment, the file and the flags, in rising order of precedence; checked one with another.

    Raises
    ------
    UsageError
        For whatever cannot be used; nothing heavy has been imported by then.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    layers = [
        from_environment(model),
        from_file(config, model) if config is not None else {},
        {**given, **plugin_options(options, sections_of(model))},
    ]
    layered(model, *layers)
    return layers
