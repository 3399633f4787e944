"""`mosaic inspect`: what a stored run holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic_cli.data_options import PATH
from mosaic_cli.terminal import Terminal, print_json, say, standard

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["command"]

FEW = 5  # values that are printed

ORDER = "scales go from noise to data, as step does; --scales takes them the other way round"


@click.command("inspect")
@click.argument("file", type=PATH)
@standard
def command(terminal: Terminal, as_json: bool, file: Path) -> None:
    """Tell what FILE holds, and where it came from.

    It may be a run, calibration, comparison, leaderboard, probe, generalization gap or reproduction, or the folder of a
    checkpoint.
    """
    from mosaic.containers.access import is_zarr

    document = _checkpoint(file) if file.is_dir() and not is_zarr(file) else _stored(file)
    if as_json:
        print_json(document)
        return
    for key, value in document.items():
        if isinstance(value, dict):
            say(f"{key}:")
            for inner, entry in value.items():
                say(f"  {inner}: {entry}")
        else:
            say(f"{key}: {_text(value)}")


def _text(value: Any) -> str:
    """Write a value for people: numbers of a list to four digits, such as scales."""
    if not isinstance(value, list) or not all(isinstance(item, (int, float)) for item in value):
        return str(value)
    return f"[{', '.join(f'{item:.4g}' if isinstance(item, float) else str(item) for item in value)}]"


def _checkpoint(folder: Path) -> dict[str, Any]:
    from mosaic.train.checkpoint import WEIGHTS, load_checkpoint

    checkpoint = load_checkpoint(folder)
    progress = (checkpoint.progress() or None) if (folder / WEIGHTS).is_file() else None
    field = checkpoint.receptive_field()
    return {"path": str(folder), **checkpoint.description, "receptive_field": field, "progress": progress}


def _summary(variable: xr.DataArray) -> str:
    """What a variable is, and its values where they are few."""
    text = str(variable.attrs.get("long_name", ""))
    if variable.size > FEW or variable.dtype.kind not in "fiub":
        return text
    values = ", ".join(f"{value:.4g}" for value in variable.values.ravel().tolist())
    return f"{text}: {values}" if text else values


def _stored(file: Path) -> dict[str, Any]:
    from mosaic.storage.files import open_stored
    from mosaic.storage.requirements import exactness_of
    from mosaic.storage.schema import JSON_ATTRIBUTES, TABLES

    with open_stored(file, tuple(TABLES), "a file of mosaic") as stored:
        shown = ("label", "scale", "k", "compared", "role", "score", "method")
        return {
            "path": str(file),
            **({"exactness": exactness_of(stored)} if exactness_of(stored) else {}),
            "dimensions": {str(name): size for name, size in stored.sizes.items()},
            "variables": {str(name): _summary(variable) for name, variable in stored.data_vars.items()},
            **({"order": ORDER} if "scale" in stored and "step" in stored["scale"].dims else {}),
            **{f"{name}s": stored[name].values.tolist() for name in shown if name in stored.variables},
            **{str(key): json.loads(value) if key in JSON_ATTRIBUTES else value for key, value in stored.attrs.items()},
        }
