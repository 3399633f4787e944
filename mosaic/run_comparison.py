"""Comparison of stored runs that started from the same noise: theory against network, image by image.

References: Kamb & Ganguli 2025, sec. 5 and table 2.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mosaic.dataset import DataAccess, DataSet
from mosaic.errors import DataError, MosaicError, UsageError
from mosaic.metric import Metric
from mosaic.nearest import nearest_images
from mosaic.plugins import registry
from mosaic.statistics import CONFIDENCE, RESAMPLES, interval_of
from mosaic.trajectory import levels_of, open_stored

__all__ = ["METRICS", "SCHEMA", "check_same_start", "compare", "open_comparison", "training_set_of"]

SCHEMA = "mosaic-comparison/1"
# What is compared by default: all but local_consistency, which costs as much as a step of the machine.
METRICS = ("pearson_r", "r2", "R2", "cosine", "mse", "nearest_train", "memorized")

# Starts are float32, multiplied by one run's s(1) and divided by it again.
START_TOLERANCE = 1e-4


def compare(
    run: xr.Dataset,
    reference: xr.Dataset,
    baseline: xr.Dataset | None = None,
    *,
    metrics: Sequence[str] = METRICS,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    dataset: DataSet | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> xr.Dataset:
    """Compare the final images of a run (and of a baseline) with those of a reference, sample by sample.

    Parameters
    ----------
    run, reference, baseline : xarray.Dataset
        Trajectories from the same noise and labels: a theory, a network, and another theory such as IS.
    metrics : sequence of str
        Names of metrics. Those that need a training set are left out where there is none.
    options : mapping
        Options of metrics, by their names. An option `k` or `boundary` that is not given is the run's own, of its last
        step.
    dataset : DataSet, optional
        The training set (`training_set_of` reads it).
    progress : callable
        Called as progress(done, total, name) before each evaluation of a metric.

    Returns
    -------
    xarray.Dataset
        For each metric that compares, its values against the reference along (compared, sample), `compared` being
        `run` and `baseline`; for any other, along (role, sample), `role` being `run`, `reference` and `baseline`.
        `NAME_median` (`NAME_share` of a metric that is 1 or 0), `NAME_low` and `NAME_high`: median over samples and its
        interval. With a baseline also `NAME_gain`, the median of run minus baseline, and its interval, for metrics that
        compare.

    Raises
    ------
    UsageError
        If the runs did not start from the same noise and labels, a metric's option cannot be used, or the training set
        has images of another shape.
    PluginError
        If a metric is unknown.
    """
    runs = {"run": run, "reference": reference} | ({"baseline": baseline} if baseline is not None else {})
    for role, other in runs.items():
        if not isinstance(other, xr.Dataset):
            raise UsageError(f"The {role} must be a stored run (mosaic.open reads one), not a {type(other).__name__}.")
        check_same_start(run, other, role)
    if dataset is not None and dataset.shape != run["image"].shape[1:]:
        raise UsageError(f"The training set has images of shape {dataset.shape}, the runs {run['image'].shape[1:]}.")
    chosen = [_metric(name, (options or {}).get(name, {}), dataset, run) for name in dict.fromkeys(metrics)]
    used = [metric for metric in chosen if metric is not None]
    found = xr.Dataset(coords={name: run[name] for name in ("sample", "seed", "label")})
    for number, metric in enumerate(used):
        found = _evaluated(metric, runs, found, partial(progress, number, len(used)))
    if dataset is not None and "role" in found.dims:
        images = {role: torch.from_numpy(one["image"].values) for role, one in runs.items()}
        nearest = [nearest_images(images[role], dataset.images.cpu())[1][:, 0].numpy() for role in runs]
        found["nearest_train_index"] = (("role", "sample"), np.stack(nearest))
        found["nearest_train_index"].attrs |= {"long_name": "index of the nearest training image", "units": "1"}
    resolved = {metric.name: metric.options.model_dump(mode="json") for metric in used}
    return found.assign_attrs(_facts(runs, resolved))


def _metric(name: str, options: Mapping[str, Any], dataset: DataSet | None, run: xr.Dataset) -> Metric | None:
    """Make a metric; None for one that needs a training set where there is none."""
    kind: type[Metric] = registry().get("metric", name)
    own = {"k": int(run["scale"].values[-1]) or None}
    own |= {"boundary": json.loads(run.attrs["configuration"])["score_options"].get("boundary")}
    known = {key: value for key, value in own.items() if value is not None and key in kind.Options.model_fields}
    parsed = kind.Options.parse({**known, **options}, f"metric.{name}")
    return None if kind.needs_dataset and dataset is None else kind(parsed, dataset)


def _evaluated(
    metric: Metric, runs: Mapping[str, xr.Dataset], found: xr.Dataset, progress: Callable[[str], None]
) -> xr.Dataset:
    """Add a metric of every run to what was found."""
    images = {role: torch.from_numpy(one["image"].values) for role, one in runs.items()}
    labels = torch.from_numpy(runs["run"]["label"].values)
    roles = [role for role in runs if role != "reference" or not metric.compares]
    values = []
    for role in roles:
        progress(f"{metric.name} of the {role}")
        value = metric(images[role], images["reference"] if metric.compares else None, labels)
        if value.shape != labels.shape:
            raise MosaicError(
                f"Metric '{metric.name}' gave shape {tuple(value.shape)}; it must give one value per sample, "
                f"{tuple(labels.shape)}."
            )
        values.append(value)
    dim = "compared" if metric.compares else "role"
    found = found.assign_coords({dim: (dim, roles)})
    found[metric.name] = ((dim, "sample"), torch.stack(values).double().cpu().numpy())
    found[metric.name].attrs |= {"long_name": _summary(metric), "units": "1"}
    if metric.chance is not None:
        found[metric.name].attrs["chance"] = metric.chance
    return found.assign(_summed_up(found[metric.name], metric.statistic))


def _summary(metric: Metric) -> str:
    return (type(metric).__doc__ or metric.name).strip().splitlines()[0]


def _summed_up(values: xr.DataArray, statistic: str) -> dict[str, tuple[Any, ...]]:
    """Median (or mean) and interval of a metric along samples, and of what the run gains on the baseline."""
    name, dim = str(values.name), values.dims[0]
    ends = (statistic, "low", "high")
    rows = [interval_of(row, statistic) for row in values.values]
    text = {
        statistic: f"{statistic} over samples",
        "low": "its interval's lower end",
        "high": "its interval's upper end",
    }
    found: dict[str, tuple[Any, ...]] = {
        f"{name}_{end}": (dim, [row[i] for row in rows], {"long_name": f"{name}: {text[end]}", "units": "1"})
        for i, end in enumerate(ends)
    }
    if dim == "compared" and len(rows) == 2:
        differences = values.values[0] - values.values[1]
        gain = interval_of(differences, "mean" if statistic == "share" else statistic)
        names = (f"{name}_gain", f"{name}_gain_low", f"{name}_gain_high")
        for variable, value, end in zip(names, gain, ends, strict=True):
            attributes = {"long_name": f"{name}, run minus baseline: {text[end]}", "units": "1"}
            found[variable] = ((), value, attributes)
    return found


def check_same_start(run: xr.Dataset, other: xr.Dataset, role: str) -> None:
    """Refuse two runs that did not start from the same noise and labels.

    Raises
    ------
    UsageError
        With what differs, and how to make runs that can be compared.
    """
    advice = "make it with mosaic run --init and the other run's file"
    if run["image"].shape != other["image"].shape:
        raise UsageError(
            f"The {role} holds images of shape {other['image'].shape}, the run of shape {run['image'].shape} (sample, "
            f"channel, height, width); {advice}."
        )
    one, two = (d["state"].isel(step=0).values / levels_of(d)[0].noise for d in (run, other))
    apart = np.abs(one - two).reshape(len(one), -1).max(1)
    if (apart > START_TOLERANCE).any():
        raise UsageError(
            f"The {role} did not start from the run's noise: {int((apart > START_TOLERANCE).sum())} of {len(apart)} "
            f"samples differ, by up to {apart.max():.3g}; {advice}."
        )
    if run["label"].values.tolist() != other["label"].values.tolist():
        raise UsageError(f"The {role} has other labels than the run; {advice}.")


def training_set_of(run: xr.Dataset, access: DataAccess) -> DataSet:
    """Read the training set of a stored run again.

    Raises
    ------
    DataError
        If it is not there, or is no longer the same.
    """
    configuration = json.loads(run.attrs["configuration"])
    kind = registry().get("dataset", configuration["dataset"])
    options = kind.Options.parse(configuration["dataset_options"], f"dataset.{configuration['dataset']}")
    dataset: DataSet = kind(options, access).load()
    if dataset.fingerprint != json.loads(run.attrs["dataset_fingerprint"]):
        raise DataError(f"Data set '{configuration['dataset']}' is no longer the one that the run was made with.")
    return dataset


def _facts(runs: Mapping[str, xr.Dataset], metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Root attributes: what was compared, and how."""
    kept = ("title", "configuration", "dataset_fingerprint", "score_fingerprint", "engine", "created", "mosaic_version",
            "versions")  # fmt: skip
    made = {role: {key: one.attrs[key] for key in kept if key in one.attrs} for role, one in runs.items()}
    return {
        "schema": SCHEMA,
        "title": ", ".join(f"{role}: {one.attrs.get('title', '')}" for role, one in runs.items()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command_line": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "",
        "metrics": json.dumps(list(metrics)),
        "metric_options": json.dumps(metrics),
        "interval": json.dumps(
            {"confidence": CONFIDENCE, "resamples": RESAMPLES, "method": "percentile bootstrap", "share": "Wilson"}
        ),
        "runs": json.dumps(made),
    }


def open_comparison(path: Path) -> xr.Dataset:
    """Open a stored comparison, lazily.

    Raises
    ------
    DataError
        If there is no such file, or it is no comparison.
    """
    return open_stored(path, (SCHEMA,), "a comparison")
