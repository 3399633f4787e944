"""`mosaic plugins`: every entry point and what became of it."""

from __future__ import annotations

from dataclasses import asdict

import click

from mosaic_cli.terminal import Terminal, print_json, print_table, say, standard

__all__ = ["command"]


@click.command("plugins")
@standard
def command(terminal: Terminal, as_json: bool) -> None:
    """List the plugins: name, distribution, version, status, and what each provides.

    Of a broken one, what is wrong with it and what can be done about it.
    """
    from mosaic.registry.commands import command_plugins
    from mosaic.registry.loading import registry
    from mosaic.registry.plugin import unmatched_names
    from mosaic_cli.main import COMMANDS

    plugins = [*registry().plugins, *command_plugins(COMMANDS)]
    for name in unmatched_names(plugins):
        terminal.note(f"MOSAIC_DISABLE_PLUGINS names '{name}', but no plugin is called so.")
    rows = [asdict(plugin) for plugin in plugins]
    if as_json:
        print_json(rows)
        return
    table = [(row["key"], row["version"], row["status"], ", ".join(row["provides"])) for row in rows]
    print_table(("PLUGIN", "VERSION", "STATUS", "PROVIDES"), table)
    for row in rows:
        if row["error"]:
            say()
            say(f"{row['key']} is broken: {row['error'].rstrip('.')}.")
            say(f"What to do: {row['remedy']}.")
