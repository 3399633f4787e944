"""Calibration of locality scales: the k at which a machine predicts best what a trained network does.

Along the network's own reverse trajectory, at each step, the machine's eps is compared with the network's for every
candidate k; the scale of the step is the median over samples of the k that agrees best.

References: Kamb & Ganguli 2025, app. C.2.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from mosaic.device import limited_threads
from mosaic.errors import warn_of
from mosaic.evaluate.calibration.config import CalibrationConfig, CalibrationSettings
from mosaic.evaluate.calibration.ends import ends_notes
from mosaic.evaluate.calibration.plan import CalibrationPlan
from mosaic.evaluate.calibration.prepare import prepare_calibration
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.score import eps_from_denoised
from mosaic.progress import Progress, reporting, silent
from mosaic.registry.data import data_access
from mosaic.registry.loading import registry
from mosaic.run.batch import run_batch
from mosaic.run.cluster import ClientLike, connected
from mosaic.run.plan import Plan
from mosaic.run.score import Score, check_identified, name_of
from mosaic.run.settings import layered, refuse_unused
from mosaic.storage.executor import Recipe
from mosaic.storage.files import open_stored
from mosaic.storage.job import FileJob, Part
from mosaic.storage.made_by import made_by, versions_of
from mosaic.storage.output import Output, start_job
from mosaic.storage.schema import CALIBRATION_SCHEMA, described
from mosaic.train.checkpoint import Checkpoint

__all__ = [
    "calibrate",
    "calibrate_batch",
    "chosen_scales",
    "cosine_and_distance",
    "job_of",
    "open_calibration",
    "start",
]


def cosine_and_distance(eps: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine similarity and Euclidean distance, each (B,), of two predictions of noise (B, C, H, W)."""
    first, second = eps.flatten(1).double(), other.flatten(1).double()
    return torch.nn.functional.cosine_similarity(first, second), torch.linalg.vector_norm(first - second, dim=1)


def calibrate_batch(plan: CalibrationPlan, batch: range, progress: Progress = silent) -> xr.Dataset:
    """Compare the machine with the network along a batch of its trajectories, at every scale.

    `progress` is called after each k of each step, with the batch's work.
    """
    network, sizes, work = plan.network, plan.sizes, plan.work(batch)
    trajectory, labels = run_batch(network, batch), network.labels_of(batch)
    table = np.empty((2, len(batch), len(network.levels), len(sizes)))
    ends = list(accumulate(len(network.levels) * work))  # work done after each k of each step
    with limited_threads(plan.threads):
        for step, level in enumerate(network.levels):
            arrays = (trajectory[name].isel(step=step).values for name in ("state", "denoised"))
            x, denoised = (torch.from_numpy(array).to(network.device) for array in arrays)
            eps = eps_from_denoised(x, denoised, level)
            for column, size in enumerate(sizes):
                predicted = eps_from_denoised(x, plan.machine.denoise(x, level, labels, size), level)
                for row, values in enumerate(cosine_and_distance(eps, predicted)):
                    table[row, :, step, column] = values.cpu().numpy()
                note = f"step {step + 1}/{len(network.levels)}, k = {size:.4g}"
                progress(ends[step * len(sizes) + column], ends[-1], plan.unit, note)
    dims = ("sample", "step", "k")
    measured = xr.Dataset({"cosine": (dims, table[0]), "distance": (dims, table[1])}, {"k": np.array(sizes)})
    names = ("sample", "seed", "label", "step", "time", "signal", "noise")
    measured = measured.assign_coords({name: trajectory[name].variable for name in names})
    return described(measured, CALIBRATION_SCHEMA)


def chosen_scales(table: xr.Dataset, criterion: str, continuous: bool = False) -> xr.Dataset:
    """Choose the scale of every step from the agreement at each k.

    Parameters
    ----------
    table : xarray.Dataset
        `cosine` and `distance` along sample, step and k.
    criterion : {"cosine", "l2"}
        The best k of a sample has the highest cosine, or the least distance; on ties the smallest k.
    continuous : bool
        Whether k may lie between those tried: the best one is then where the parabola in log k through the best k tried
        and its neighbours has its extremum.

    Returns
    -------
    xarray.Dataset
        `table` with `best` (sample, step); and along step its median `scale` (of windows the lower one of two), the
        mode `scale_mode` (of the k tried that are best, the smallest of several) and its quartiles `scale_q25` and
        `scale_q75`.
    """
    order = table["cosine"] if criterion == "cosine" else -table["distance"]
    values, tried = order.transpose("sample", "step", "k").values, table["k"].values
    places = values.argmax(2)
    counts = (places[:, :, None] == np.arange(len(tried))).sum(0)
    best = _between(values, places, tried) if continuous else tried[places]
    chosen = {
        "best": (("sample", "step"), best),
        "scale": ("step", np.percentile(best, 50, axis=0, method="linear" if continuous else "lower")),
        "scale_mode": ("step", tried[counts.argmax(1)]),
        "scale_q25": ("step", np.percentile(best, 25, axis=0)),
        "scale_q75": ("step", np.percentile(best, 75, axis=0)),
    }
    return described(table.assign(chosen), CALIBRATION_SCHEMA)


def _between(values: np.ndarray, places: np.ndarray, tried: np.ndarray) -> NDArray[np.float64]:
    """Where parabolas in log k through the largest values (sample, step, k) and their neighbours are largest."""
    if len(tried) < 3:
        return np.asarray(tried[places], dtype=np.float64)
    middle = places.clip(1, len(tried) - 2)
    x = np.log(tried)[np.stack([middle - 1, middle, middle + 1])]
    y = np.take_along_axis(values, np.stack([middle - 1, middle, middle + 1], axis=2), axis=2).transpose(2, 0, 1)
    rise, fall = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    curvature = (fall - rise) / (x[2] - x[0])
    inside = (places == middle) & (curvature < 0)  # the largest at an end of what was tried stays there
    vertex = (x[0] + x[1]) / 2 - rise / (2 * np.where(inside, curvature, -1.0))
    return np.where(inside, np.exp(np.where(inside, vertex, 0.0)), tried[places])


def identity_of(plan: CalibrationPlan) -> dict[str, Any]:
    """Identity of a calibration: two that agree in it give the same table."""
    network = plan.network
    return {
        "configuration": plan.config.model_dump(mode="json"),
        "dataset_fingerprint": network.dataset.fingerprint(),
        "network_fingerprint": network.model.traits.fingerprint(),
        "versions": versions_of(plan.config, network.model.traits.plugins()),
        "engine": plan.machine.traits.engine(network.dtype),
        **_network_identity(network),
    }


def _network_identity(network: Plan) -> dict[str, Any]:
    """What decides the network's numbers beside its fingerprint; nothing for a checkpoint, whose training says it."""
    model, config = network.model, network.config.model_dump(mode="json")
    if model.name == registry().checkpoint_score():
        return {}
    named = {
        "score": config["score"],
        "options": {name: value for name, value in config["score_options"].items() if name not in model.path_options},
        "schedule": config["schedule"],
        "schedule_options": config["schedule_options"],
        "scales": list(network.scales),
    }
    return {"network": named}


def attributes_of(plan: CalibrationPlan) -> dict[str, str]:
    """Root attributes of a calibration, in addition to its identity."""
    title = f"scales of {plan.config.score} by the network {plan.config.checkpoint}"
    return {**made_by(plan.network.device, plan.network.dataset), "title": title}


def job_of(plan: CalibrationPlan, path: Path) -> FileJob:
    """The job of a calibration that is kept at `path`."""
    steps = len(plan.network.levels)
    return FileJob(
        place=path,
        identity=identity_of(plan),
        schema=CALIBRATION_SCHEMA,
        what="a calibration",
        parts=[
            Part(steps * sum(plan.work(batch)), partial(calibrate_batch, plan, batch)) for batch in plan.network.batches
        ],
        unit=plan.unit,
        attributes=partial(attributes_of, plan),
        complete=partial(
            chosen_scales,
            criterion=plan.config.criterion,
            continuous=plan.machine.traits.has_continuous_scale,
        ),
        free=("configuration.checkpoint",),  # a path; the identity holds the fingerprint of the weights
        recipe=_recipe(plan),
    )


def _recipe(plan: CalibrationPlan) -> Recipe | None:
    """How another process makes the job of a plan; None where it stands on objects that this process was given."""
    if plan.access is None:
        return None
    has_classes = any(label != -1 for label in plan.network.labels)
    images = None if has_classes else plan.network.dataset.images
    memory = plan.network.memory
    return Recipe(prepare_calibration, job_of, plan.config, plan.access, memory, images=images, threads=plan.threads)


def start(plan: CalibrationPlan, progress: Progress = silent) -> xr.Dataset:
    """Calibrate, and keep the table and the scales where the plan says.

    Returns
    -------
    xarray.Dataset
        In memory, or (with an output) opened from the file.
    """
    return start_job(partial(job_of, plan), plan.output, progress)


def open_calibration(path: str | PathLike[str]) -> xr.Dataset:
    """Open a stored calibration, lazily.

    Raises
    ------
    DataError
        If there is no such file, or it is not a calibration.
    """
    return open_stored(Path(path), (CALIBRATION_SCHEMA,), "a calibration")


@checked(CalibrationConfig)
def calibrate(
    checkpoint: str | PathLike[str] | Checkpoint | Score,
    score: str | None = None,
    dataset: str | DataSet | None = None,
    *,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    data_dir: str | PathLike[str] | None = None,
    memory: str | float | None = None,
    client: ClientLike = None,
    progress: Progress | bool | None = True,
    **settings: Unpack[CalibrationSettings],
) -> xr.Dataset:
    """Choose the scales at which a machine agrees best with a trained network, as `mosaic calibrate` does.

    Parameters
    ----------
    checkpoint : path, Checkpoint or Score
        Folder of the trained network; or any network, as `mosaic.score` gives it, with its data and schedule.
    score : str, optional
        Score model that has scales; by default els, or what is resumed.
    dataset : str or DataSet, optional
        Training set; by default the network's.
    out : path, optional
        netCDF file to write; `scales=` of a run reads it. Without it nothing is written.
    resume, overwrite, data_dir, memory, client
        As for `run`.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.
    **settings
        The settings below: samples=32, sizes="3-17", criterion="l2", ...

    Returns
    -------
    xarray.Dataset
        `cosine` and `distance` (sample, step, k), `best` (sample, step), `scale` and its spread (step). A warning names
        the times whose scale is the largest or smallest tried.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.

    References
    ----------
    Kamb & Ganguli 2025, app. C.2.
    """
    network = checkpoint if isinstance(checkpoint, Score) else None
    if network is not None:
        unused = {"dataset": dataset, "dataset_options": settings.get("dataset_options"), "data_dir": data_dir}
        refuse_unused(unused, "the network is a score, which has its own data")
        if resume:
            check_identified(network.model)
    images = dataset if isinstance(dataset, DataSet) else None
    asked = {
        "checkpoint": name_of(checkpoint.model) if isinstance(checkpoint, Score) else fspath(checkpoint),
        "score": score,
        "dataset": images.name if images is not None else dataset,
    }
    names = {key: value for key, value in asked.items() if value is not None}
    if out is None:
        refuse_unused({"resume": resume, "overwrite": overwrite}, "nothing is stored without `out`")
    if images is not None:
        unused = {"dataset_options": settings.get("dataset_options"), "data_dir": data_dir}
        refuse_unused(unused, "the data set is not a name")
    output = None if out is None else Output(Path(out).expanduser(), resume, overwrite)
    kept = output.kept_settings(CalibrationConfig) if output is not None else {}
    config = layered(CalibrationConfig, kept, {**names, **settings})
    access = data_access(data_dir, False)
    plan = prepare_calibration(config, access, memory=memory, network=network, dataset=images, output=output)
    warn_of(plan.notes)
    with connected(client), reporting(progress) as report:
        calibration = start(plan, report)
    warn_of(ends_notes(calibration))
    return calibration
