"""A run as a job: its identity, its batches, and where it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

import mosaic.view.accessor  # noqa: F401 - every run has `run.mosaic`
from mosaic.errors import DataError
from mosaic.progress import Progress, silent
from mosaic.registry.loading import registry
from mosaic.run.batch import run_batch
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.storage.executor import Recipe
from mosaic.storage.files import as_attribute
from mosaic.storage.job import FileJob, Part
from mosaic.storage.made_by import made_by, versions_of
from mosaic.storage.output import Output, start_job
from mosaic.storage.requirements import known_values, require
from mosaic.storage.schema import COORDINATES, RUN, SAVED, SAVED_WITH_IMAGE, TRAJECTORY_SCHEMA

__all__ = ["job_of", "start"]


def _identity(plan: Plan) -> dict[str, Any]:
    """Identity of a run: two that agree in it give the same bytes on one machine."""
    start = None if plan.start is None else hashlib.sha256(plan.start.contiguous().numpy().data).hexdigest()
    return {
        "configuration": plan.config.model_dump(mode="json"),
        "scales": list(plan.scales),
        "labels": list(plan.labels),
        "dataset_fingerprint": plan.dataset.fingerprint(),
        "init_fingerprint": start,
        "versions": versions_of(plan.config, plan.model.traits.plugins()),
        "engine": plan.model.traits.engine(plan.dtype),
        "score_fingerprint": plan.model.traits.fingerprint(),
    }


def _attributes(plan: Plan) -> dict[str, str]:
    """Root attributes of a run, in addition to its identity."""
    traits = {name: value for name, value in vars(plan.model.traits).items() if isinstance(value, bool)}
    return {
        **made_by(plan.device, plan.dataset),
        "title": f"{plan.config.score} on {_data_name(plan)}: reverse flow",
        "traits": as_attribute(traits),
    }


def _data_name(plan: Plan) -> str:
    """Name of the data themselves: that of the file or folder, where a data set of this name reads whatever one."""
    origin, reads = Path(plan.dataset.origin), bool(plan.config.dataset_options)  # objects have no options
    return origin.name if reads and origin.is_absolute() else plan.dataset.name


def _check_finished(plan: Plan, path: Path, run: xr.Dataset) -> None:
    """Refuse a file that does not hold all of the run, though its attributes say that it is this one."""
    saved = [name for item in plan.save for name in SAVED[item]]
    run = require(run, (*COORDINATES, *RUN, *saved, *(SAVED_WITH_IMAGE if "provenance" in plan.save else ())))
    for axis, count in (("sample", plan.samples), ("step", len(plan.levels))):
        if known_values(run, axis).values.tolist() != list(range(count)):
            raise DataError(
                f"'{path}' was changed: it does not hold all of the run's {count} {axis}s, in order; use `overwrite`, "
                f"or another `out`."
            )


def job_of(plan: Plan, path: Path) -> FileJob:
    """The job of a run that is kept at `path`."""
    moved = [f"configuration.score_options.{name}" for name in plan.model.path_options]
    after_step = partial(registry().hook.after_step, config=plan.config)
    return FileJob(
        place=path,
        identity=_identity(plan),
        schema=TRAJECTORY_SCHEMA,
        what="a stored run",
        parts=[
            Part(sum(plan.work(batch)), partial(run_batch, plan, batch, after_step=after_step), batch)
            for batch in plan.batches
        ],
        unit=plan.unit,
        attributes=lambda: _attributes(plan),
        before=lambda: registry().hook.before_run(config=plan.config),
        check=partial(_check_finished, plan, path),
        after=lambda whole: registry().hook.after_run(config=plan.config, trajectory=whole),
        # These may be paths; the scales themselves and the noise are in the identity.
        free=("configuration.scales", "configuration.init", *moved),
        recipe=_recipe(plan),
    )


def _recipe(plan: Plan) -> Recipe | None:
    """How another process makes the job of a plan; None where it stands on objects that this process was given."""
    if plan.access is None:
        return None
    scales = ",".join(map(repr, reversed(plan.scales))) if plan.model.traits.has_scale else None
    config = plan.config.model_copy(update={"scales": scales})
    images = plan.dataset.images if plan.shared_images else None
    make = partial(prepare, is_stored=True)
    return Recipe(make, job_of, config, plan.access, plan.memory, images=images, threads=plan.threads)


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
