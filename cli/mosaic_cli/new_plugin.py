"""`mosaic new-plugin`: a distribution to start from."""

from __future__ import annotations

from pathlib import Path

import click

from mosaic_cli.terminal import Terminal, print_json, say, standard

__all__ = ["command"]


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--kind", default="score", metavar="KIND", help="score, schedule, dataset, metric or network.  [default: score]"
)
@standard
def command(terminal: Terminal, as_json: bool, name: str, kind: str) -> None:
    """Write a plugin NAME, as a complete distribution, into the new folder ./NAME.

    It installs and passes its tests at once: `pip install -e './NAME[test]' && pytest NAME`. Then make it yours.
    """
    from mosaic.registry.scaffold import write_plugin

    paths = write_plugin(name, kind, Path(name))
    terminal.note(f"Next: pip install -e './{name}[test]' && pytest {name}")
    if as_json:
        print_json({"path": name, "files": [str(Path(name) / path) for path in paths]})
    else:
        say(name)
