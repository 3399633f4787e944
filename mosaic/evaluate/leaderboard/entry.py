"""An entry of a leaderboard: a score model's run from the board's noise, and its single steps along other runs.

The run is stored as any run is. The single steps are x0hat at the states of a run, with the time that each takes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from pydantic import Field

from mosaic.device import limited_threads, peak_bytes
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.options import Options
from mosaic.interfaces.score import ScoreModel
from mosaic.progress import Progress, silent
from mosaic.run.config import RunConfig
from mosaic.run.job import job_of
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.storage.files import reusing
from mosaic.storage.indexes import evenly_spread
from mosaic.storage.job import FileJob, Part
from mosaic.storage.made_by import made_by
from mosaic.storage.schema import ENTRY_SCHEMA, described
from mosaic.storage.trajectory import open_trajectory

__all__ = ["Along", "LeaderboardEntry", "moments_of", "plan_along", "steps_job"]


class Along(Options):
    """Single steps of an entry's score model: x0hat at states of a run."""

    run: Path = Field(description="File of the run along whose flow x0hat is evaluated.")
    moments: int = Field(ge=1, description="At how many of its steps.")
    steps: Path = Field(description="File of x0hat there.")
    facts: dict[str, Any] = Field(
        {},
        description="What the numbers rest on besides: contents of checkpoint, data and scales, versions of plugins.",
    )


class LeaderboardEntry(Options):
    """What one process computes: a run, and x0hat of its score model at states of other runs, or of its own."""

    name: str = Field("", description="Name of its score model on the board.")
    run: RunConfig = Field(description="The run.")
    out: Path = Field(description="Its file.")
    along: tuple[Along, ...] = Field((), description="Its single steps.")
    data_dir: Path | None = Field(None, description="Folder of data files.")
    memory: str | float | None = Field(None, description="Memory that may be taken.")
    scheduler: str | None = Field(None, description="Address of the Dask scheduler whose workers compute the run.")
    command_line: list[str] = Field([], description="The command that this is part of, for the record.")

    @property
    def files(self) -> list[Path]:
        """All files of what it computes."""
        return [self.out, *(along.steps for along in self.along)]

    def steps_along(self, run: Path) -> Path:
        """File of its single steps along a run."""
        return next(along.steps for along in self.along if along.run == run)

    def are_steps_done(self) -> bool:
        """Tell whether there are single steps, and all are done, and so is the run.

        Raises
        ------
        ConfigMismatch
            If single steps are of another run, or along another flow.
        DataError
            If a file is damaged.
        """
        if not (self.along and self.out.exists()):
            return False
        with reusing():
            open_trajectory(self.out).close()  # its damage would only be noticed when all others are done
        return all(along.run.exists() and steps_job(self, along).is_done() for along in self.along)

    def prepare(self, dataset: DataSet | None = None, model: ScoreModel | None = None) -> Plan:
        """Prepare the run; data set and score model are made from their names unless they are given."""
        images = dataset if model is None else model.dataset
        access, memory = DataAccess(self.data_dir, False), self.memory
        return prepare(self.run, access, score=model, dataset=images, memory=memory, is_stored=True)

    def is_run_done(self, plan: Plan) -> bool:
        """Tell whether the run is done.

        Raises
        ------
        ConfigMismatch
            If there is another run at its place.
        """
        return job_of(plan, self.out).is_done()

    def works(self) -> list[float]:
        """Work of the run, 0 if it is done, and of each of the single steps: steps, all at about the same scales."""
        of_run = 0.0 if self.out.exists() else float(self.run.steps)
        return [of_run, *(float(along.moments) for along in self.along)]


@dataclass(frozen=True)
class StepsJob(FileJob):
    """The single steps of an entry. Differences are named without `job`, the attribute that holds the identity."""

    def differing(self, identity: Mapping[str, Any]) -> list[str]:
        """Name what differs between an identity and the job's own, as `key: stored, now wanted`."""
        return [text.removeprefix("job.") for text in super().differing(identity)]


def steps_job(entry: LeaderboardEntry, along: Along, plan: Plan | None = None, own_process: bool = True) -> StepsJob:
    """The job of an entry's single steps along a run, which must be there.

    Without the plan of the run's steps (`plan_along`) it reads what is stored and cannot compute. Peak memory is stored
    if it is that of a process of the entry's own.
    """
    with reusing(), open_trajectory(along.run) as flow:
        network = {name: flow.attrs[name] for name in ("configuration", "score_fingerprint", "dataset_fingerprint")}
        if flow["scale"].values.any():  # its configuration may name a file of them, which can change
            network["scales"] = flow.attrs["scales"]
    run = entry.run.model_dump(mode="json")
    return StepsJob(
        place=along.steps,
        identity={"job": {"run": run, "moments": along.moments, "network": network, "facts": along.facts}},
        schema=ENTRY_SCHEMA,
        what="the single steps of a leaderboard entry",
        parts=() if plan is None else (_part(along, plan),),
        unit="step" if plan is None else plan.unit,
        attributes=partial(_attributes, entry, None if plan is None else plan.device, own_process),
    )


def _part(along: Along, plan: Plan) -> Part:
    """All single steps as one part; the work of a step counts all samples."""
    with open_trajectory(along.run) as flow:
        steps = moments_of(flow, along.moments)["step"].values.tolist()
    of_batches = [plan.work(batch) for batch in plan.batches]
    work = [sum(of_batch[step] for of_batch in of_batches) for step in steps]
    return Part(sum(work), partial(single_steps, along, plan, work))


def _attributes(entry: LeaderboardEntry, device: torch.device | None, own_process: bool) -> dict[str, str]:
    """Root attributes of the single steps; called when they are done."""
    peak = None if device is None or not own_process else peak_bytes(device)
    title = f"x0hat of {entry.run.score} at states of a flow"
    return {**made_by(device), "title": title, "peak_bytes": str(peak or "nan")}


def moments_of(flow: xr.Dataset, count: int) -> xr.Dataset:
    """Take `count` steps of a run, spread evenly from its first to its last; all where it has no more."""
    return flow.isel(step=evenly_spread(flow.sizes["step"], count))


def plan_along(entry: LeaderboardEntry, along: Along, plan: Plan) -> Plan:
    """Prepare an entry's score model, as its run has it, for every step of the run that it goes along."""
    with open_trajectory(along.run) as flow:
        steps = flow.sizes["step"]
    # A list of scales has an entry for each step of the entry's own run. Scales at the steps of another are looked up
    # in that run, by noise-to-signal ratio.
    is_list = "," in (entry.run.scales or "") and not (entry.run.scales or "").lstrip().startswith("{")
    scales = str(entry.out) if is_list else entry.run.scales
    config = entry.run.model_copy(update={"steps": steps, "scales": scales})
    return prepare(config, DataAccess(), score=plan.model, dataset=plan.dataset, memory=entry.memory)


def single_steps(along: Along, plan: Plan, work: list[float], progress: Progress = silent) -> xr.Dataset:
    """Evaluate x0hat at the states of the run, a step at a time, and take the time of each."""
    with open_trajectory(along.run) as flow:
        moments = moments_of(flow, along.moments).drop_vars("denoised").load()
    states, steps = torch.from_numpy(moments["state"].values), moments["step"].values.tolist()
    denoised, seconds = np.empty(states.shape, np.float32), np.zeros(len(steps))
    with limited_threads(plan.threads):
        for batch in plan.batches:  # work done only once (per class, at either end of the flow) must not be timed
            for place in (0, -1):
                _evaluate(plan, states[:, place], steps[place], batch[:1])
        for place, step in enumerate(steps):
            for batch in plan.batches:
                begin = time.perf_counter()
                denoised[batch.start : batch.stop, place] = _evaluate(plan, states[:, place], step, batch)
                seconds[place] += time.perf_counter() - begin
            progress(sum(work[: place + 1]), sum(work), plan.unit, f"step {place + 1}/{len(steps)}")
    table = xr.Dataset(
        {"denoised": (moments["state"].dims, denoised), "seconds": ("step", seconds)},
        {name: moments[name] for name in ("sample", "seed", "label", "step", "time", "signal", "noise")},
    )
    return described(table, ENTRY_SCHEMA)


def _evaluate(plan: Plan, states: torch.Tensor, step: int, batch: range) -> np.ndarray:
    """x0hat (B, C, H, W) of a batch of the states (samples, C, H, W) of a step."""
    x = states[batch.start : batch.stop].to(plan.dtype).to(plan.device)
    return plan.denoise(x, step, batch).cpu().numpy()
