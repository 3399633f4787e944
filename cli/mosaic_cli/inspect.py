"""`mosaic inspect`: what a stored run holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mosaic_cli.terminal import Terminal, print_json, standard

__all__ = ["command"]

JSON_ATTRIBUTES = (
    "configuration",
    "dataset_classes",
    "engine",
    "dataset_fingerprint",
    "dataset_range",
    "init_fingerprint",
    "versions",
)


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@standard
def command(terminal: Terminal, as_json: bool, file: Path) -> None:
    """Tell what FILE holds: variables, configuration, data, versions."""
    from mosaic.trajectory import open_trajectory

    with open_trajectory(file) as run:
        document: dict[str, Any] = {
            "path": str(file),
            "dimensions": {str(name): size for name, size in run.sizes.items()},
            "variables": {
                str(name): str(variable.attrs.get("long_name", "")) for name, variable in run.data_vars.items()
            },
            "labels": run["label"].values.tolist(),
            "scales": run["scale"].values.tolist(),
            **{str(key): json.loads(value) if key in JSON_ATTRIBUTES else value for key, value in run.attrs.items()},
        }
    if as_json:
        print_json(document)
        return
    for key, value in document.items():
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for inner, entry in value.items():
                click.echo(f"  {inner}: {entry}")
        else:
            click.echo(f"{key}: {value}")
