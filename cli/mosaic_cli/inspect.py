"""`mosaic inspect`: what a stored run holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic_cli.terminal import Terminal, print_json, standard

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["command"]

JSON_ATTRIBUTES = (
    "configuration",
    "dataset_classes",
    "dataset_fingerprint",
    "dataset_range",
    "description",
    "engine",
    "failed",
    "init_fingerprint",
    "job",
    "left_out",
    "interval",
    "metric_options",
    "metrics",
    "network_fingerprint",
    "recipes",
    "records",
    "rows",
    "runs",
    "score_fingerprint",
    "versions",
)


FEW = 5  # values that are told

ORDER = "scales go from noise to data, as step does; --scales takes them the other way round"


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@standard
def command(terminal: Terminal, as_json: bool, file: Path) -> None:
    """Tell what FILE holds, and where it came from.

    It may be a run, calibration, comparison, leaderboard or reproduction, or the folder of a checkpoint.
    """
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


def _told(variable: xr.DataArray) -> str:
    """What a variable is, and its values where they are few."""
    words = str(variable.attrs.get("long_name", ""))
    if variable.size > FEW or variable.dtype.kind not in "fiub":
        return words
    values = ", ".join(f"{value:.4g}" for value in variable.values.ravel().tolist())
    return f"{words}: {values}" if words else values


def _stored(file: Path) -> dict[str, Any]:
    from mosaic import calibration, run_comparison, sitting, trajectory
    from mosaic.ranking import board, entrant
    from mosaic.reproduction import reproduce

    modules = (trajectory, calibration, run_comparison, reproduce, board, entrant)
    schemas = (*(module.SCHEMA for module in modules), sitting.HISTORY_SCHEMA)
    with trajectory.open_stored(file, schemas, "a file of mosaic") as stored:
        shown = ("label", "scale", "k", "compared", "role", "score")
        return {
            "path": str(file),
            "dimensions": {str(name): size for name, size in stored.sizes.items()},
            "variables": {str(name): _told(variable) for name, variable in stored.data_vars.items()},
            **({"order": ORDER} if "scale" in stored and "step" in stored["scale"].dims else {}),
            **{f"{name}s": stored[name].values.tolist() for name in shown if name in stored.variables},
            **{str(key): json.loads(value) if key in JSON_ATTRIBUTES else value for key, value in stored.attrs.items()},
        }
