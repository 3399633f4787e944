"""How the runs of a report differ: in their settings, and sample by sample in their final images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.device import standard_torch
from mosaic.errors import DataError, UsageError
from mosaic.registry.loading import registry
from mosaic.storage.requirements import attribute_of, known_values, tensor_of
from mosaic.storage.trajectory import check_same_start
from mosaic.view.report.encoding import packed, shares

__all__ = ["differences_of", "settings_that_differ"]

MADE_BY = ("dataset_fingerprint", "score_fingerprint", "engine", "device", "code", "mosaic_version", "torch_version")
STEPS = 32767  # of a difference, from 0 to the largest


def settings_that_differ(runs: Sequence[xr.Dataset]) -> list[list[Any]]:
    """List the settings, and what the runs were made by, that are not the same in all of them.

    Returns
    -------
    list of [str, list of str]
        Name of a setting (options as `score.boundary`), and its value in each run; empty where a run has none.
    """
    tables = [_settings(run) for run in runs]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = [[name, [table.get(name, "") for table in tables]] for name in names]
    return [row for row in rows if len(set(row[1])) > 1]


def _settings(run: xr.Dataset) -> dict[str, str]:
    settings: dict[str, Any] = {}
    for name, value in attribute_of(run, "configuration").items():
        if name.endswith("_options") and isinstance(value, Mapping):
            settings |= {f"{name.removesuffix('_options')}.{option}": each for option, each in value.items()}
        else:
            settings[name] = value
    settings["scales of the steps"] = _listed(known_values(run, "scale").values.tolist())
    settings |= {name: str(run.attrs[name]).strip('"') for name in MADE_BY if name in run.attrs}
    return {name: "none" if value is None else _text(value) for name, value in settings.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _listed(scales: list[float]) -> str:
    """Scales from noise to data, such as `5, 3 (19 steps)`."""
    runs = [(f"{scale:.4g}", len(list(group))) for scale, group in groupby(scales)]
    if not any(scales):  # of a score model that has none
        return "none"
    return ", ".join(f"{scale} ({count} steps)" if count > 1 else scale for scale, count in runs)


@standard_torch()
def differences_of(runs: Sequence[tuple[str, xr.Dataset]]) -> dict[str, Any]:
    """Compare the final images of each run after the first with the first one's.

    Parameters
    ----------
    runs : sequence of (str, xarray.Dataset)
        Names and trajectories, of the same samples.

    Returns
    -------
    dict
        `metric`, the name of the first metric of agreement; `levels`, for scatter plots the final pixels of each run
        and sample in parts of the data's range, clamped; and `runs`, those after the first. Each has `reason`, why
        there is nothing to compare image by image, or None; then also `range`, the largest difference of all samples,
        `images`, the differences (run minus first run) in parts of it, and of each sample `agreement`, `mean` and
        `largest`, by the metric and of the absolute difference. Of several channels an image shows the one that
        differs most.
    """
    metric = registry().agreement_metrics()[0]
    first = runs[0][1]
    agreement = registry().make("metric", metric, {})
    compared: list[dict[str, Any]] = []
    for name, run in runs[1:]:
        try:
            check_same_start(first, run, f"run '{name}'")
        except (UsageError, DataError) as error:
            compared.append({"reason": str(error)})
            continue
        values = agreement(tensor_of(run, "image"), tensor_of(first, "image")).tolist()
        differences = known_values(run, "image").values - known_values(first, "image").values
        absolute = np.abs(differences)
        largest = float(absolute.max())
        compared.append(
            {
                "reason": None,
                "range": largest,
                "images": [packed(_parts(difference, largest)) for difference in differences],
                "agreement": [value if np.isfinite(value) else None for value in values],
                "mean": absolute.mean((1, 2, 3)).tolist(),
                "largest": absolute.max((1, 2, 3)).tolist(),
            }
        )
    levels = [_levels(run) for _, run in runs] if len(runs) > 1 else []
    return {"metric": metric, "levels": levels, "runs": compared}


def _levels(run: xr.Dataset) -> list[dict[str, str]]:
    low, high = attribute_of(run, "dataset_range")
    return [shares((image - low) / (high - low)) for image in known_values(run, "image").values]


def _parts(difference: NDArray[Any], largest: float) -> NDArray[np.int16]:
    """Signed differences (H, W) of the channel that differs most, in `STEPS` parts of the largest."""
    channel = np.abs(difference).argmax(0)
    signed = np.take_along_axis(difference, channel[None], 0)[0]
    parts: NDArray[np.int16] = (signed / (largest or 1) * STEPS).round().astype(np.int16)
    return parts
