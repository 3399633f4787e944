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
    "dataset_fingerprint",
    "dataset_range",
    "description",
    "engine",
    "init_fingerprint",
    "interval",
    "metric_options",
    "metrics",
    "network_fingerprint",
    "runs",
    "score_fingerprint",
    "versions",
)


ORDER = "scales go from noise to data, as step does; --scales takes them the other way round"


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@standard
def command(terminal: Terminal, as_json: bool, file: Path) -> None:
    """Tell what FILE (a run, a calibration, a comparison, the folder of a checkpoint) holds, and where it came from."""
    document = _checkpoint(file) if file.is_dir() else _stored(file)
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


def _checkpoint(folder: Path) -> dict[str, Any]:
    from mosaic.checkpoint import WEIGHTS, load_checkpoint

    checkpoint = load_checkpoint(folder)
    field = checkpoint.receptive_field
    progress = checkpoint.progress if (folder / WEIGHTS).is_file() else None
    return {"path": str(folder), **checkpoint.description, "receptive_field": field, "progress": progress}


def _stored(file: Path) -> dict[str, Any]:
    from mosaic import calibration, run_comparison, sitting, trajectory

    schemas = (trajectory.SCHEMA, calibration.SCHEMA, run_comparison.SCHEMA, sitting.HISTORY_SCHEMA)
    with trajectory.open_stored(file, schemas, "a file of mosaic") as stored:
        shown = ("label", "scale", "k", "compared", "role")
        return {
            "path": str(file),
            "dimensions": {str(name): size for name, size in stored.sizes.items()},
            "variables": {
                str(name): str(variable.attrs.get("long_name", "")) for name, variable in stored.data_vars.items()
            },
            **({"order": ORDER} if "scale" in stored.variables else {}),
            **{f"{name}s": stored[name].values.tolist() for name in shown if name in stored.variables},
            **{str(key): json.loads(value) if key in JSON_ATTRIBUTES else value for key, value in stored.attrs.items()},
        }
