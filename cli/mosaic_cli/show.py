"""`mosaic show`: one plugin class and its options."""

from __future__ import annotations

import inspect

import click

from mosaic_cli.terminal import Terminal, print_json, print_table, standard

__all__ = ["command"]


@click.command("show")
@click.argument("kind")
@click.argument("name")
@standard
def command(terminal: Terminal, as_json: bool, kind: str, name: str) -> None:
    """Describe NAME of a KIND (schedule, score, dataset, metric, network): what it is, and its options.

    With --json: the JSON schema of its options.
    """
    from mosaic.options import describe_options
    from mosaic.plugins import registry

    kind = kind.removesuffix("s")
    cls = registry().get(kind, name)
    if as_json:
        print_json(cls.Options.model_json_schema())
        return
    click.echo(f"{kind} {name}, from {registry().owner(kind, name)}\n")
    click.echo(inspect.getdoc(cls) or "(no description)")
    rows = describe_options(cls.Options)
    click.echo("\nOptions:" if rows else "\nNo options.")
    if rows:
        header = ("OPTION", "TYPE", "DEFAULT", "BOUNDS", "DESCRIPTION")
        print_table(
            header,
            [(f"{kind}.{row['name']}", row["type"], row["default"], row["bounds"], row["description"]) for row in rows],
        )
