"""`mosaic cite`: BibTeX of what a result used."""

from __future__ import annotations

from pathlib import Path

import click

from mosaic_cli.data_options import PATH
from mosaic_cli.terminal import Terminal, print_json, say, standard

__all__ = ["command"]


@click.command("cite")
@click.argument("result", type=PATH)
@standard
def command(terminal: Terminal, as_json: bool, result: Path) -> None:
    """Print BibTeX of the theories, networks, data and software that RESULT used.

    RESULT is any stored result, such as a run, or the folder of a checkpoint. With --json: a list of entries.
    """
    from mosaic.evaluate.citations import cite

    entries = cite(result)
    if as_json:
        print_json(entries)
    else:
        for line in "\n\n".join(entries).splitlines():
            say(line)
