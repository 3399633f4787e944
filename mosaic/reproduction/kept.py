"""Runs that a study keeps: reused, gone on with, and told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.config import RunConfig
from mosaic.dataset import DataAccess, DataSet
from mosaic.memory import fit
from mosaic.plan import prepare
from mosaic.runner import execute, is_stored

__all__ = ["Report", "has_run", "kept_run", "no_report", "record_of"]

RECORDED = ("configuration", "dataset_fingerprint", "score_fingerprint", "network_fingerprint", "versions", "engine")

Report = Callable[[str, float, str], None]
"""Called as report(step, share, words): what is being done, how much of it is, and more in words."""


def no_report(step: str, share: float, words: str) -> None:
    """Show nothing."""


def kept_run(
    step: str,
    config: RunConfig,
    out: Path,
    access: DataAccess,
    memory: str | None,
    report: Report,
    dataset: DataSet | None = None,
) -> xr.Dataset:
    """Run a configuration into a file; reuse, or go on with, what is there. The report calls it `step`."""
    plan = fit(prepare(config, access, dataset=dataset), memory)
    batches = len(plan.batches)

    def progress(batch: int, done: int, steps: int) -> None:
        report(step, (batch + done / steps) / batches, f"batch {batch + 1}/{batches}, step {done}/{steps}")

    return execute(plan, out, resume=True, progress=progress)


def has_run(config: RunConfig, out: Path, access: DataAccess, dataset: DataSet | None = None) -> bool:
    """Tell whether a file holds the whole run of a configuration.

    Raises
    ------
    BegunOtherwise
        If it holds another's.
    """
    return is_stored(prepare(config, access, dataset=dataset), out)


def record_of(stored: xr.Dataset) -> dict[str, Any]:
    """What a stored run or calibration tells of how it was made."""
    decoded = {key: json.loads(stored.attrs[key]) for key in RECORDED if key in stored.attrs}
    told = ("created", "mosaic_version", "code", "plugins", "device")
    return {**decoded, **{key: stored.attrs[key] for key in told if key in stored.attrs}}
