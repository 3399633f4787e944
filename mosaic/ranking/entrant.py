"""One theory's part in a leaderboard, in a process of its own: `python -m mosaic.ranking.entrant JOB`.

Its reverse flow from the network's noise is stored as any run is; then x0hat at the network's own states, step by step,
with the time that each step takes. Lines `progress SHARE` on stdout tell how far it is.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from pydantic import Field

from mosaic.config import RunConfig
from mosaic.dataset import DataAccess, DataSet
from mosaic.entry import core_digest
from mosaic.errors import MosaicError
from mosaic.memory import fit, peak_bytes
from mosaic.options import Options
from mosaic.plan import Plan, prepare
from mosaic.runner import execute, is_stored
from mosaic.store import BegunOtherwise, RunStore, as_attribute, named_differences, write_netcdf
from mosaic.trajectory import open_trajectory

__all__ = ["NETWORK", "SCHEMA", "Job", "carry_out", "check_begun", "is_done", "moments_of"]

SCHEMA = "mosaic-single-steps/1"
NETWORK = "network"


class Job(Options):
    """What one process does.

    `run` is stored at `out`; x0hat along the run at `along` in the file `steps`.
    """

    run: RunConfig = Field(description="The theory's run.")
    out: Path = Field(description="Its file.")
    along: Path = Field(description="The network's run.")
    moments: int = Field(ge=1, description="At how many of its steps.")
    steps: Path = Field(description="File of x0hat there.")
    data_dir: Path | None = Field(None, description="Folder of data files.")
    memory: str | None = Field(None, description="Budget of the machine.")
    facts: dict[str, Any] = Field(
        {},
        description="What the numbers rest on besides: contents of checkpoint, data and scales, versions of plugins.",
    )
    command_line: list[str] = Field([], description="The command that this is part of, for the record.")


def is_done(job: Job) -> bool:
    """Tell if run and single steps are there, of the same run along the same flow.

    Raises
    ------
    BegunOtherwise
        If it is of another.
    """
    if not (job.along.exists() and job.steps.exists() and job.out.exists()):
        return False
    with xr.open_dataset(job.steps) as stored:
        asked = json.loads(stored.attrs["job"])
    differing = named_differences(asked, identity(job))
    if differing:
        raise BegunOtherwise(job.steps, differing)
    return True


def check_begun(job: Job, dataset: DataSet) -> None:
    """Refuse a run that is there, or has been begun, with other settings.

    Raises
    ------
    BegunOtherwise
        If it is.
    """
    if RunStore(job.out).has_begun():
        is_stored(prepare(job.run, DataAccess(job.data_dir, False), dataset=dataset), job.out)


def identity(job: Job) -> dict[str, object]:
    """What must agree for the single steps of two jobs to be the same."""
    with open_trajectory(job.along) as along:
        network = {name: along.attrs[name] for name in ("configuration", "score_fingerprint", "dataset_fingerprint")}
    return {"run": job.run.model_dump(mode="json"), "moments": job.moments, "network": network, "facts": job.facts}


def moments_of(along: xr.Dataset, count: int) -> xr.Dataset:
    """Take `count` steps of a run, spread evenly from its first to its last; all where it has no more."""
    steps = along.sizes["step"]
    return along.isel(step=np.unique(np.linspace(0, steps - 1, min(count, steps)).round().astype(int)))


def carry_out(job: Job) -> None:
    """Run the theory, or go on with its run; then evaluate it along the network's flow."""
    plan = fit(prepare(job.run, DataAccess(job.data_dir, False)), job.memory)
    batches = len(plan.batches)

    def progress(batch: int, done: int, total: int) -> None:
        tell((batch + done / total) / batches / 2)

    execute(plan, job.out, resume=True, progress=progress).close()
    with open_trajectory(job.along) as along:
        there = moments_of(along, job.moments)
        states, steps = torch.from_numpy(there["state"].values), there["step"].values.tolist()
        like_it = job.run.model_copy(update={"steps": along.sizes["step"], "scales": _scales_along(job)})
    plan = replace(prepare(like_it, DataAccess(), dataset=plan.dataset), model=plan.model)
    found, seconds = np.empty(states.shape, np.float32), np.zeros(len(steps))
    for batch in plan.batches:  # what is done once, for each class and at each end of the flow, is done now
        for place in (0, -1):
            evaluate(plan, states[:, place], steps[place], batch[:1])
    for place, step in enumerate(steps):
        for batch in plan.batches:
            begin = time.perf_counter()
            found[batch.start : batch.stop, place] = evaluate(plan, states[:, place], step, batch)
            seconds[place] += time.perf_counter() - begin
        tell(0.5 + (place + 1) / len(steps) / 2)
    dims = ("sample", "step", "channel", "height", "width")
    words = "x0hat of the theory at the network's states"
    single = xr.Dataset(
        {
            "denoised": (dims, found, {"long_name": words, "units": "1"}),
            "seconds": ("step", seconds, {"long_name": "time of the step, of all samples", "units": "s"}),
        },
        {name: there[name] for name in ("sample", "seed", "label", "step", "time", "signal", "noise")},
        attrs={
            "schema": SCHEMA,
            "job": as_attribute(identity(job)),
            "code": core_digest(),
            "peak_bytes": str(peak_bytes(plan.device) or "nan"),
        },
    )
    write_netcdf(single, job.steps)


def _scales_along(job: Job) -> str | None:
    """Scales for the network's steps; a list is of the theory's, and looked up in its run by noise-to-signal ratio."""
    return str(job.out) if "," in (job.run.scales or "") else job.run.scales


def evaluate(plan: Plan, states: torch.Tensor, step: int, batch: range) -> np.ndarray:
    """x0hat (B, C, H, W) of a batch of the states (samples, C, H, W) of a step."""
    x = states[batch.start : batch.stop].to(plan.dtype).to(plan.device)
    return plan.denoise(x, step, batch).cpu().numpy()


def tell(share: float) -> None:
    """Say how far it is."""
    sys.stdout.write(f"progress {share:.4f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        job = Job.model_validate_json(sys.argv[1])
        sys.argv = job.command_line or sys.argv
        carry_out(job)
    except MosaicError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(int(error.exit_code))
