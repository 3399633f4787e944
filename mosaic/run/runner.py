"""The main job: run the reverse flow of a plan, and store the trajectory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

import mosaic.view.accessor  # noqa: F401 - every run has `run.mosaic`
from mosaic.device import limited_threads
from mosaic.engine.machine import AnalyticMachine
from mosaic.errors import UsageError
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.schedule import Level
from mosaic.interfaces.score import ScoreModel
from mosaic.progress import Progress, reporting, silent
from mosaic.registry.data import data_access
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.plan import Plan
from mosaic.run.prepare import ScoreLike, prepare
from mosaic.run.saved import NEEDS_POSTERIOR, record_step, saved_arrays
from mosaic.run.settings import layered
from mosaic.sampling.flow import SAMPLERS, reverse_flow, reverse_times
from mosaic.sampling.noise import StepNoise
from mosaic.storage.files import as_attribute
from mosaic.storage.job import FileJob, Part
from mosaic.storage.made_by import made_by, versions_of
from mosaic.storage.output import Output, start_job
from mosaic.storage.schema import TRAJECTORY_SCHEMA
from mosaic.storage.trajectory import assemble

__all__ = ["attributes_of", "identity_of", "job_of", "name_of", "run", "run_batch", "start"]


def run_batch(plan: Plan, batch: range, progress: Progress = silent) -> xr.Dataset:
    """Run the reverse flow of one batch of samples; `progress` is called after each step, with the batch's work."""
    states: list[Tensor] = []
    denoised: list[Tensor] = []
    recorded: dict[int, dict[str, np.ndarray]] = {}
    needs_posterior = bool(set(plan.save) & set(NEEDS_POSTERIOR))
    work = plan.work(batch)

    def evaluate(x: Tensor, index: int) -> Tensor:
        keep = bool(plan.save) and index in plan.save_steps
        attribution = plan.attribute(x, index, batch) if keep and needs_posterior else None
        result = plan.denoise(x, index, batch) if attribution is None else attribution.denoised
        if keep:
            recorded[index] = record_step(plan.save, x, result, plan.levels[index], attribution)
        return result

    noise = StepNoise(plan.step_seeds(batch))
    with limited_threads(plan.threads):
        for step in reverse_flow(evaluate, plan.starts(batch), plan.levels, SAMPLERS[plan.config.sampler], noise):
            states.append(step.state)
            denoised.append(step.denoised)
            note = f"step {step.index + 1}/{len(plan.levels)}"
            progress(sum(work[: step.index + 1]), sum(work), plan.unit, note)
        source = None
        if "provenance" in plan.save:  # for final images: the nearest candidates (theorem 4.1)
            finished = Level(1.0, 0.0)
            source = plan.model.attribute(denoised[-1], finished, plan.labels_of(batch), plan.scales[-1]).source
    coordinates: dict[str, Any] = {
        "sample": list(batch),
        "seed": plan.seeds[batch.start : batch.stop],
        "label": plan.labels[batch.start : batch.stop],
        "time": reverse_times(len(plan.levels)),
        "signal": [level.signal for level in plan.levels],
        "noise": [level.noise for level in plan.levels],
        "scale": plan.scales,
    }
    return assemble(states, denoised, coordinates, saved_arrays(recorded, len(plan.levels), source))


def identity_of(plan: Plan) -> dict[str, Any]:
    """Identity of a run: two that agree in it give the same bytes on one machine."""
    start = None if plan.start is None else hashlib.sha256(plan.start.numpy().tobytes()).hexdigest()
    return {
        "configuration": plan.config.model_dump(mode="json"),
        "scales": list(plan.scales),
        "labels": list(plan.labels),
        "dataset_fingerprint": plan.dataset.fingerprint(),
        "init_fingerprint": start,
        "versions": versions_of(plan.config),
        "engine": plan.model.traits.engine(plan.dtype),
        "score_fingerprint": plan.model.traits.fingerprint(),
    }


def attributes_of(plan: Plan) -> dict[str, str]:
    """Root attributes of a run, in addition to its identity."""
    traits = {name: value for name, value in vars(plan.model.traits).items() if isinstance(value, bool)}
    return {
        **made_by(plan.device, plan.dataset),
        "title": f"{plan.config.score} on {plan.dataset.name}: reverse flow",
        "traits": as_attribute(traits),
    }


def job_of(plan: Plan, path: Path) -> FileJob:
    """The job of a run that is kept at `path`."""
    moved = [f"configuration.score_options.{name}" for name in plan.model.path_options]
    return FileJob(
        place=path,
        identity=identity_of(plan),
        schema=TRAJECTORY_SCHEMA,
        what="a stored run",
        parts=[Part(sum(plan.work(batch)), partial(run_batch, plan, batch)) for batch in plan.batches],
        unit=plan.unit,
        attributes=lambda: attributes_of(plan),
        before=lambda: registry().hook.before_run(config=plan.config),
        after=lambda whole: registry().hook.after_run(config=plan.config, trajectory=whole),
        free=("configuration.scales", *moved),  # a path; the scales themselves are in the identity
    )


def start(
    plan: Plan, progress: Progress = silent, started: Callable[[Output], object] = lambda output: None
) -> xr.Dataset:
    """Run a plan, and keep it where it says; arguments as for `start_job`.

    Returns
    -------
    xarray.Dataset
        The trajectory: in memory, or (with an output) opened from the file.
    """
    return start_job(partial(job_of, plan), plan.output, progress, started)


def run(
    score: ScoreLike | None = None,
    dataset: str | DataSet | None = None,
    *,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    memory: str | None = None,
    progress: Progress | bool = True,
    **settings: Any,
) -> xr.Dataset:
    """Run the reverse flow of a score model, as `mosaic run` does (but for the picture).

    Parameters
    ----------
    score : str, ScoreModel or callable, optional
        A registered name, a score model object (its own data set is used), or any eps(x, t) with x
        (B, C, H, W) and t (B,) in [0, 1]; by default els, or what is resumed.
    dataset : str or DataSet, optional
        A registered name, or a data set; by default digits, or what is resumed.
    out : path, optional
        Store the run in this netCDF file; without it nothing is written.
    resume, overwrite : bool
        Resume the unfinished run at `out`, with its settings where none are given; or replace what is there.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    memory : str
        What the run may take, such as "2G" (default: a quarter of what the machine has): less memory means fewer
        threads, and the same numbers.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.
    **settings
        Any field of `RunConfig`: steps=50, samples=16, seed=1, scales="5", score_options={"boundary": "zeros"}, ...

    Returns
    -------
    xarray.Dataset
        The trajectory, as `mosaic/storage/schema.py` describes it.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    """
    if not isinstance(dataset, (str, DataSet, type(None))):
        raise UsageError(f"`dataset` must be a name or a mosaic.DataSet, not a {type(dataset).__name__}.")
    if not isinstance(settings.get("init", ""), (str, PathLike, type(None))):
        raise UsageError(f"`init` must be a path to a .nc or .npy file, not a {type(settings['init']).__name__}.")
    model = None if score is None or isinstance(score, str) else score
    if resume and model is not None and not isinstance(model, AnalyticMachine):
        raise UsageError("A `score` passed as an object cannot be resumed: nothing shows that it is the same one.")
    images = model.dataset if isinstance(model, ScoreModel) else None if isinstance(dataset, str) else dataset
    asked = {
        "score": score if model is None else name_of(model),
        "dataset": dataset if images is None else images.name,
    }
    names = {key: value for key, value in asked.items() if value is not None}
    output = None if out is None else Output(Path(out).expanduser(), resume, overwrite)
    kept = output.kept_settings(RunConfig) if output is not None else {}
    config = layered(RunConfig, kept, {**names, **settings})
    plan = prepare(config, data_access(data_dir, download), score=model, dataset=images, memory=memory, output=output)
    with reporting(progress) as report:
        return start(plan, report)


def name_of(score: Any) -> str:
    """Name under which a score object is recorded."""
    if isinstance(score, ScoreModel) and score.name:
        return score.name
    kind = score if hasattr(score, "__qualname__") else type(score)
    return f"{kind.__module__}.{kind.__qualname__}"
