"""Comparison of stored runs that started from the same noise: theory against network, image by image.

References: Kamb & Ganguli 2025, sec. 5 and table 2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import mosaic.view.accessor  # noqa: F401 - every comparison has `comparison.mosaic`
from mosaic.device import standard_torch
from mosaic.engine.nearest import nearest_images
from mosaic.errors import MosaicError, UsageError, did_you_mean, warn_of
from mosaic.evaluate.statistics import CONFIDENCE, RESAMPLES, interval_of
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.metric import Metric
from mosaic.progress import Progress, piece_of, prefixed, reporting
from mosaic.registry.loading import registry
from mosaic.run.runner import run as run_score
from mosaic.run.score import Score
from mosaic.storage.files import as_attribute, open_stored
from mosaic.storage.indexes import places_of
from mosaic.storage.made_by import made_by, record
from mosaic.storage.requirements import attribute_of, require, setting_of, tensor_of, title_of
from mosaic.storage.schema import COMPARISON_SCHEMA, IMAGE, described
from mosaic.storage.trajectory import check_same_start, check_training_set, open_trajectory, start_noise
from mosaic.view.measure import describe_metric, metric_for

__all__ = ["compare", "open_comparison"]

NEEDED = ("image", "state", "label")  # of every run
SAMPLER = ("sampler", "sampler_options")


@checked()
def compare(
    run: xr.Dataset | str | PathLike[str] | Score,
    reference: xr.Dataset | str | PathLike[str],
    baseline: xr.Dataset | str | PathLike[str] | Score | None = None,
    *,
    metrics: str | Collection[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    dataset: DataSet | None = None,
    progress: Progress | bool | None = True,
) -> xr.Dataset:
    """Compare the final images of a run (and of a baseline) with those of a reference, sample by sample.

    Parameters
    ----------
    run, baseline : xarray.Dataset, path or Score
        Trajectories from the reference's noise and labels: a theory, and another theory such as IS. `init` of a run
        starts it from the noise and labels of another. A score is run from them here, in as many steps as the
        reference and by its sampler, as `mosaic.run(score, init=reference, steps=..., sampler=...)` does.
    reference : xarray.Dataset or path
        The trajectory to compare with, of a network in most cases.
    metrics : str or collection of str, optional
        Names of metrics, or a text such as "mse,r2"; by default those that are marked `by_default`, but for those
        that need a training set where there is none, which a warning names.
    options : mapping
        Options of metrics, by their names. Options `k` and `boundary` that are not given are those of the run's last
        step.
    dataset : DataSet, optional
        The training set of `run` (`run.mosaic.training_set` reads it); that of a score is known. A warning says if
        another run was made with another one.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`, in images, after
        the runs of scores.

    Returns
    -------
    xarray.Dataset
        For each metric that compares, its values against the reference along (compared, sample), `compared` being
        `run` and `baseline`; for any other, along (role, sample), `role` being `run`, `reference` and `baseline`.
        `NAME_median` (`NAME_mean` or `NAME_share`, as the metric says), `NAME_low` and `NAME_high`: median over samples
        and its interval. With a baseline also `NAME_gain`, the median of run minus baseline, and its interval
        `NAME_gain_low` and `NAME_gain_high`, for metrics that compare. `image` (role, sample, channel, height, width):
        the final images, which `comparison.mosaic.plot` draws.

    Raises
    ------
    UsageError
        If the runs did not start from the same noise and labels, a score cannot be run from the reference's, a metric's
        option cannot or would not be used, none is named, or one that is named needs a training set and there is none.
    PluginError
        If a metric is unknown.
    DataError
        If a run does not hold what is compared or its first step, a metric needs its last one and it does not go to
        its end, or `dataset` is not the run's training set.

    Examples
    --------
    >>> import mosaic
    >>> reference = mosaic.run("is", steps=5, samples=2)
    >>> mosaic.compare(mosaic.score("is"), reference, metrics="mse")["mse_median"].item()
    0.0
    """
    own = run.model.dataset if isinstance(run, Score) and dataset is None else dataset
    own = None if own is None else own.to("cpu")  # where stored images are
    given = {"run": run, "reference": reference} | ({} if baseline is None else {"baseline": baseline})
    with ExitStack() as opened:
        runs = {
            role: each if isinstance(each, xr.Dataset) else opened.enter_context(open_trajectory(each))
            for role, each in given.items()
            if not isinstance(each, Score)
        }
        _check_runs(runs, own)
        names = _judging(metrics, options or {}, own)
        report = opened.enter_context(reporting(progress))
        for role, each in given.items():
            if isinstance(each, Score):
                own_data = dataset if role == "run" else None
                runs[role] = _run_beside(runs["reference"], each, own_data, prefixed(report, role))
        return _compared({role: runs[role] for role in given}, names, options or {}, own, report)


def _run_beside(reference: xr.Dataset, score: Score, dataset: DataSet | None, progress: Progress) -> xr.Dataset:
    """Run a score from the reference's noise and labels, in its steps and by its sampler; only images are needed."""
    steps, sampler, options = (setting_of(reference, name, "reference") for name in ("steps", *SAMPLER))
    return run_score(
        score,
        dataset,
        init=reference,
        steps=steps,
        sampler=sampler,
        sampler_options=options or {},
        save="none",
        progress=progress,
    )


def _compared(
    runs: Mapping[str, xr.Dataset],
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    dataset: DataSet | None,
    progress: Progress,
) -> xr.Dataset:
    """Compare runs by their roles, by the metrics of these names."""
    runs = {role: require(each, NEEDED, role) for role, each in runs.items()}
    run = runs["run"]
    if len({attribute_of(each, "dataset_fingerprint", role) for role, each in runs.items()}) > 1:
        warn_of(["The runs were made on different training sets; metrics of the data use the first one's."])
    made = [metric_for(run, name, options.get(name, {}), dataset) for name in names]
    used = {metric.name: metric for metric in made}
    comparison = _evaluated(list(used.values()), runs, progress)
    if dataset is not None and "role" in comparison.dims:
        comparison["nearest_train_index"] = (("role", "sample"), _nearest_training_images(runs, dataset))
    comparison = comparison.assign_coords({"role": list(runs), **places_of(run)}).assign(image=_images(runs))
    resolved = {name: metric.options.model_dump(mode="json") for name, metric in used.items()}
    return described(comparison.assign_attrs(_attributes(runs, resolved)), COMPARISON_SCHEMA, tuple(used))


def _judging(
    metrics: str | Collection[str] | None, options: Mapping[str, Mapping[str, Any]], dataset: DataSet | None
) -> list[str]:
    """Give the names of the metrics that can be used, of those asked for; refuses options of others."""
    kinds = {name: registry().get("metric", name) for name in _names(metrics)}
    lacking = [name for name, kind in kinds.items() if dataset is None and kind.needs_dataset]
    if lacking and metrics is not None:
        raise UsageError(f"The metrics {', '.join(lacking)} need the training set; give `dataset`, or leave them out.")
    if lacking:
        warn_of([f"Without `dataset`, the metrics {', '.join(lacking)} are left out."])
    judging = [name for name in kinds if name not in lacking]
    for name in options:
        if name not in judging:
            raise UsageError(
                f"`options` are given for '{name}', which is not among the metrics that are used: {', '.join(judging)}."
                f"{did_you_mean(name, judging)}"
            )
    return judging


def _names(metrics: str | Collection[str] | None) -> list[str]:
    """Give the names of the metrics asked for, each once."""
    if metrics is None:
        return registry().default_metrics()
    given = metrics.split(",") if isinstance(metrics, str) else sorted(metrics) if isinstance(metrics, set) else metrics
    names = [name for name in dict.fromkeys(str(name).strip() for name in given) if name]
    if not names:
        raise UsageError("`metrics` names none; leave it out for those that are used by default.")
    return names


def _check_runs(stored: Mapping[str, xr.Dataset], dataset: DataSet | None) -> None:
    """Refuse, before a score is run, runs from different noise or labels, and another training set than the run's."""
    first = stored.get("run", stored["reference"])  # the noise of a score will be the reference's
    for role, other in stored.items():
        if other is first:
            start_noise(require(other, NEEDED, role).isel(sample=[0]), role)
        else:
            check_same_start(first, require(other, NEEDED, role), role)
    if dataset is not None and "run" in stored:
        check_training_set(first, dataset)


def _evaluated(metrics: Sequence[Metric], runs: Mapping[str, xr.Dataset], progress: Progress) -> xr.Dataset:
    """Evaluate every metric on every run that it judges, and sum up over samples."""
    run = runs["run"]
    columns = [name for name in ("sample", "seed", "label") if name in run.coords and run[name].dims == ("sample",)]
    comparison = xr.Dataset(coords={name: run[name].variable for name in columns})
    roles = [[role for role in runs if role != "reference" or not metric.compares] for metric in metrics]
    samples = run.sizes["sample"]
    works = [samples * len(judged) for judged in roles]
    total = sum(works)
    for metric, judged, work, start in zip(metrics, roles, works, accumulate(works, initial=0), strict=False):
        comparison = _with_metric(comparison, metric, runs, judged, piece_of(progress, start, work, total, "image"))
    progress(total, total, "image", "compared")
    return comparison


@standard_torch()
def _with_metric(
    comparison: xr.Dataset,
    metric: Metric,
    runs: Mapping[str, xr.Dataset],
    roles: Sequence[str],
    progress: Progress,
) -> xr.Dataset:
    """Add a metric of the runs in these roles, with its median and interval; `progress` is called before each role."""
    reference = tensor_of(runs["reference"], "image", "reference") if metric.compares else None
    labels = tensor_of(runs["run"], "label")
    values, samples = [], len(labels)
    for number, role in enumerate(roles):
        progress(number * samples, len(roles) * samples, "image", f"{metric.name} of the {role}")
        value = metric(tensor_of(runs[role], "image", role), reference, labels)
        if value.shape != labels.shape:
            raise MosaicError(
                f"Metric '{metric.name}' gave shape {tuple(value.shape)}; it must give one value per sample, "
                f"{tuple(labels.shape)}."
            )
        values.append(value)
    dim = "compared" if metric.compares else "role"
    attributes: dict[str, Any] = {"long_name": describe_metric(metric), "units": "1"}
    if metric.chance is not None:
        attributes["chance"] = metric.chance
    table = xr.DataArray(
        torch.stack(values).double().cpu().numpy(), {dim: list(roles)}, (dim, "sample"), metric.name, attributes
    )
    return comparison.assign({metric.name: table, **_summarised(table, metric.statistic)})


def _summarised(values: xr.DataArray, statistic: str) -> dict[str, tuple[Any, ...]]:
    """Median (or mean) and interval of a metric along samples, and of what the run gains on the baseline."""
    name, dim = values.name, values.dims[0]
    rows = np.array([interval_of(row, statistic) for row in values.values])
    variables: dict[str, tuple[Any, ...]] = {
        f"{name}_{end}": (dim, column) for end, column in zip((statistic, "low", "high"), rows.T, strict=True)
    }
    if dim == "compared" and len(rows) == 2:
        gain = interval_of(values.values[0] - values.values[1], "mean" if statistic == "share" else statistic)
        names = (f"{name}_gain", f"{name}_gain_low", f"{name}_gain_high")
        variables |= {variable: ((), value) for variable, value in zip(names, gain, strict=True)}
    return variables


def _images(runs: Mapping[str, xr.Dataset]) -> tuple[tuple[str, ...], np.ndarray]:
    """Final images of each role, for pictures."""
    return ("role", *IMAGE), np.stack([tensor_of(run, "image", role).numpy() for role, run in runs.items()])


def _nearest_training_images(runs: Mapping[str, xr.Dataset], dataset: DataSet) -> np.ndarray:
    """Index (role, sample) of the training image nearest to each final image."""
    images, training = [tensor_of(run, "image", role) for role, run in runs.items()], dataset.images
    return np.stack([nearest_images(batch, training)[1][:, 0].numpy() for batch in images])


def _attributes(runs: Mapping[str, xr.Dataset], metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Root attributes: what was compared, and how."""
    titles, names = {role: str(run.attrs.get("title", "")) for role, run in runs.items()}, _names_of(runs)
    return {
        **made_by(),
        "title": ", ".join(f"{role}: {title}" for role, title in titles.items()),
        "metrics": as_attribute(list(metrics)),
        "metric_options": as_attribute(metrics),
        "interval": as_attribute(
            {"confidence": CONFIDENCE, "resamples": RESAMPLES, "method": "percentile bootstrap", "share": "Wilson"}
        ),
        "dataset_range": as_attribute(attribute_of(runs["run"], "dataset_range")),
        "runs": as_attribute(
            {role: {"name": names[role], "title": titles[role], **record(run.attrs)} for role, run in runs.items()}
        ),
    }


def _names_of(runs: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """Call runs by their files, or by what they are of; by their roles, too, where that does not tell them apart."""
    files = {role: run.encoding.get("source") for role, run in runs.items()}
    names = {role: Path(file).stem if file else title_of(runs[role]) for role, file in files.items()}
    distinct = len(set(names.values())) == len(names)
    return {role: name if distinct and name else f"{role} {name}".strip() for role, name in names.items()}


def open_comparison(path: str | PathLike[str]) -> xr.Dataset:
    """Open a stored comparison, lazily.

    Raises
    ------
    DataError
        If there is no such file, or it is not a comparison.
    """
    return open_stored(Path(path), (COMPARISON_SCHEMA,), "a comparison")
