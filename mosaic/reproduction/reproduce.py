"""Reproduce a table or figure of the paper: into a folder that can be gone on with."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from mosaic.config import layered
from mosaic.entry import core_digest
from mosaic.errors import UsageError, did_you_mean
from mosaic.picture import save_figure
from mosaic.reproduction.attention import AttentionTable
from mosaic.reproduction.attention_tradeoff import AttentionTradeoff
from mosaic.reproduction.duration import Forecast
from mosaic.reproduction.fig3 import Fig3
from mosaic.reproduction.fig4 import Fig4
from mosaic.reproduction.fig5c import Fig5c
from mosaic.reproduction.fig6 import Fig6
from mosaic.reproduction.kept import Report, no_report
from mosaic.reproduction.memorization import Memorization
from mosaic.reproduction.names import described
from mosaic.reproduction.rows import ReproduceConfig
from mosaic.reproduction.table2 import Table2
from mosaic.reproduction.target import Study, Target
from mosaic.runner import data_access
from mosaic.store import BegunOtherwise, write_netcdf

__all__ = [
    "SCHEMA",
    "TARGETS",
    "execute_reproduction",
    "forecast_reproduction",
    "prepare_reproduction",
    "reproduce",
]

SCHEMA = "mosaic-reproduction/1"
TARGETS: dict[str, type[Target]] = {
    target.name: target for target in (Table2, Fig3, Fig4, Fig5c, Fig6, Memorization, AttentionTable, AttentionTradeoff)
}


def prepare_reproduction(name: str, study: Study, rows: Sequence[str] = ()) -> Target:
    """Find a table or figure by its name.

    Raises
    ------
    UsageError
        If there is none, or a row is unknown.
    """
    if name not in TARGETS:
        raise UsageError(
            f"There is nothing called '{name}' to reproduce.{did_you_mean(name, TARGETS)} Known: {', '.join(TARGETS)}."
        )
    return TARGETS[name](study, tuple(dict.fromkeys(rows)))


def execute_reproduction(target: Target) -> xr.Dataset:
    """Measure a table or figure, store it as NAME.nc and NAME.png in the study's folder, and return it."""
    study = target.study
    try:
        study.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--out '{study.folder}' cannot be written ({error.strerror}); choose another place."
        ) from None
    try:
        found = described(target.measure()).assign_attrs(_facts(target))
    except BegunOtherwise as error:
        raise _otherwise(error) from None
    write_netcdf(found, study.folder / f"{target.name}.nc")
    save_figure(target.draw(found), study.folder / f"{target.name}.png")
    return found


def _otherwise(error: BegunOtherwise) -> UsageError:
    """Say what to do where a step was made with other settings."""
    return UsageError(
        f"'{error.place}' was made with other settings ({'; '.join(error.differing)}); give those, use another --out, "
        f"or remove '{error.place.parent}'."
    )


def forecast_reproduction(target: Target) -> list[Forecast]:
    """Tell what there is to do and how long it will take.

    Raises
    ------
    UsageError
        If a network is there that was trained with other settings.
    """
    try:
        return target.forecast()
    except BegunOtherwise as error:
        raise _otherwise(error) from None


def _facts(target: Target) -> dict[str, str]:
    """Root attributes of a reproduction."""
    return {
        "schema": SCHEMA,
        "title": (type(target).__doc__ or target.name).strip().splitlines()[0],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command_line": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "",
        "rows": json.dumps(target.rows),
        "configuration": json.dumps(target.study.config.model_dump(mode="json")),
        "records": json.dumps(target.study.records),
        "mosaic_version": version("mosaic-diffusion"),
        "code": core_digest(),
        "torch_version": torch.__version__,
    }


def reproduce(
    name: str,
    rows: Sequence[str] = (),
    *,
    out: str | PathLike[str],
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    memory: str | None = None,
    report: Report = no_report,
    **settings: Any,
) -> xr.Dataset:
    """Reproduce a table or figure of the paper, as `mosaic reproduce` does.

    Parameters
    ----------
    name : str
        table2, ...
    rows : sequence of str
        Rows of table 2 that it is made from; by default the usual ones.
    out : path
        Folder; each preset has one of its name in it. What is there already is gone on with.
    data_dir, download, memory
        As for `run`.
    report : callable
        Called as report(step, share, words) as work goes on.
    **settings
        Any field of `ReproduceConfig`: preset="paper", samples=16, ...

    Returns
    -------
    xarray.Dataset
        What was measured; also stored as NAME.nc and drawn as NAME.png in the folder.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.

    References
    ----------
    Kamb & Ganguli 2025.
    """
    config = layered(ReproduceConfig, settings)
    folder = Path(out).expanduser() / config.preset
    study = Study(config, folder, data_access(data_dir, download), memory, report)
    return execute_reproduction(prepare_reproduction(name, study, rows))
