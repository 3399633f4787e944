"""The main job: compose schedule, score model and data set, run the reverse flow, store the trajectory."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from mosaic.config import RunConfig, layered
from mosaic.dataset import DataAccess, DataSet
from mosaic.entry import CORE, code_digest, core_digest
from mosaic.errors import UsageError
from mosaic.machine import AnalyticMachine
from mosaic.memory import fit
from mosaic.noise import StepNoise
from mosaic.plan import Plan, ScoreLike, describe, prepare
from mosaic.plugins import registry
from mosaic.sampler import SAMPLERS, reverse_flow, reverse_times
from mosaic.saving import NEEDS_POSTERIOR, kept_of, saved_arrays
from mosaic.score import ScoreModel
from mosaic.store import RunStore, as_attribute, join
from mosaic.trajectory import SCHEMA, assemble, open_trajectory

__all__ = ["Progress", "RunConfig", "data_access", "execute", "is_stored", "no_progress", "run"]

Progress = Callable[[int, int, int], None]
"""Called as progress(batch, step, steps) after each step."""


def no_progress(batch: int, step: int, steps: int) -> None:
    """Show nothing."""


def run_batch(plan: Plan, batch: range, progress: Callable[[int, int], None]) -> xr.Dataset:
    """Run the reverse flow of one batch of samples; `progress(step, steps)` is called after each step."""
    states, denoised, kept = [], [], {}
    needs_posterior = bool(set(plan.save) & set(NEEDS_POSTERIOR))

    def evaluate(x: Tensor, index: int) -> Tensor:
        keep = bool(plan.save) and index in plan.save_steps
        found = plan.diagnose(x, index, batch) if keep and needs_posterior else None
        result = plan.denoise(x, index, batch) if found is None else found.denoised
        if keep:
            kept[index] = kept_of(plan.save, x, result, plan.levels[index], found)
        return result

    for step in reverse_flow(
        evaluate, plan.starts(batch), plan.levels, SAMPLERS[plan.config.sampler], StepNoise(plan.step_seeds(batch))
    ):
        states.append(step.state)
        denoised.append(step.denoised)
        progress(step.index + 1, len(plan.levels))
    sample = {
        "sample": list(batch),
        "seed": plan.seeds[batch.start : batch.stop],
        "label": plan.labels[batch.start : batch.stop],
    }
    steps: dict[str, Any] = {
        "time": reverse_times(len(plan.levels)),
        "signal": [level.signal for level in plan.levels],
        "noise": [level.noise for level in plan.levels],
        "scale": plan.scales,
    }
    source = plan.trace(denoised[-1], batch) if "provenance" in plan.save else None
    return assemble(states, denoised, sample, steps, saved_arrays(kept, len(plan.levels), source))


def identity(plan: Plan) -> dict[str, Any]:
    """What must agree for two runs to give the same bytes on one machine."""
    names = {kind: getattr(plan.config, kind) for kind in ("score", "dataset", "schedule")}
    start = None if plan.start is None else hashlib.sha256(plan.start.numpy().tobytes()).hexdigest()
    return {
        "configuration": describe(plan),
        "dataset_fingerprint": plan.dataset.fingerprint,
        "init_fingerprint": start,
        "versions": versions_of(names),
        "engine": plan.model.engine(plan.dtype),
        "score_fingerprint": plan.model.fingerprint(),
    }


def versions_of(names: Mapping[str, str]) -> dict[str, str]:
    """Versions of torch and of the distributions that provide the plugins named, by kind; digests of others' code."""
    plugins = registry()
    owners = {(kind, name): plugins.owner(kind, name).partition(":")[0] for kind, name in names.items()}
    found = {p.distribution: p.version for p in plugins.plugins if p.distribution in owners.values()}
    for (kind, name), owner in owners.items():
        if owner not in ("", CORE) and owner in found:  # a plugin under development changes under the same version
            found[f"{owner} {kind}"] = code_digest(plugins.get(kind, name))
    return {**found, "torch": torch.__version__}


def provenance(plan: Plan) -> dict[str, str]:
    """Root attributes that tell where a run came from."""
    plugins = {p.key: p.version for p in registry().plugins if p.status == "active"}
    facts = {
        "schema": SCHEMA,
        "title": f"{plan.config.score} on {plan.dataset.name}: reverse flow",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command_line": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "",
        "plugins": ", ".join(f"{key} {number}" for key, number in plugins.items()),
        "dataset_size": str(len(plan.dataset)),
        "dataset_source": plan.dataset.source,
        "dataset_range": as_attribute(plan.dataset.range),
        "dataset_classes": as_attribute(plan.dataset.classes),
        "mosaic_version": version("mosaic-diffusion"),
        "code": core_digest(),
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "device": _device_name(plan.device),
        "threads": str(torch.get_num_threads()),
    }
    commit = _git_commit()
    return {**facts, "git_commit": commit} if commit else facts


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.machine()})"


def _git_commit() -> str:
    """Commit of the checkout this package is used from, empty where there is none."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def attributes(plan: Plan, facts: Mapping[str, Any]) -> dict[str, str]:
    """Root attributes of a run whose identity is `facts`."""
    return {**provenance(plan), **{key: as_attribute(value) for key, value in facts.items()}}


def execute(
    plan: Plan,
    out: Path | None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> xr.Dataset:
    """Run a plan; store it in `out` where one is given.

    Returns
    -------
    xarray.Dataset
        The trajectory: in memory, or (with `out`) opened from the file.
    """
    if out is None:
        return _execute_in_memory(plan, progress)
    return _execute_stored(plan, _store_of(plan, out), resume, overwrite, progress)


def is_stored(plan: Plan, out: Path) -> bool:
    """Tell whether a file holds the whole run of a plan.

    Raises
    ------
    BegunOtherwise
        If it holds another's.
    """
    return _store_of(plan, out).is_finished(identity(plan))


def _store_of(plan: Plan, out: Path) -> RunStore:
    places = [f"configuration.score_options.{name}" for name in plan.model.places]
    return RunStore(out, free=["configuration.scales_from", *places])


def _execute_in_memory(plan: Plan, progress: Progress) -> xr.Dataset:
    registry().hook.before_run(config=plan.config)
    parts = [run_batch(plan, batch, partial(progress, number)) for number, batch in enumerate(plan.batches)]
    whole = join(parts, attributes(plan, identity(plan)))
    registry().hook.after_run(config=plan.config, trajectory=whole)
    return whole


def _execute_stored(plan: Plan, store: RunStore, resume: bool, overwrite: bool, progress: Progress) -> xr.Dataset:
    store.check_place(resume=resume, overwrite=overwrite)
    facts = identity(plan)
    if resume and store.is_finished(facts):
        store.clear()
        return open_trajectory(store.path)
    with store.begin(facts, resume=resume, overwrite=overwrite):
        try:
            registry().hook.before_run(config=plan.config)
            for number, batch in enumerate(plan.batches):
                if not store.part(number).exists():
                    store.write_part(number, run_batch(plan, batch, partial(progress, number)))
        except Exception:
            store.abandon()
            raise
        store.finish(len(plan.batches), attributes(plan, facts))
    with open_trajectory(store.path) as whole:
        registry().hook.after_run(config=plan.config, trajectory=whole)
    return open_trajectory(store.path)


def run(
    score: ScoreLike = "els",
    dataset: str | DataSet = "digits",
    *,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    memory: str | None = None,
    progress: Progress = no_progress,
    **settings: Any,
) -> xr.Dataset:
    """Run the reverse flow of a score model, as `mosaic run` does (but for the picture).

    Parameters
    ----------
    score : str, ScoreModel or callable
        A registered name, a score model object (its own data set is used), or any eps(x, t) with x
        (B, C, H, W) and t (B,) in [0, 1].
    dataset : str or DataSet
        A registered name, or a data set.
    out : path, optional
        Store the run in this netCDF file; without it nothing is written.
    resume, overwrite : bool
        Go on with the unfinished run at `out`; or replace what is there.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    memory : str
        What the run may take, such as "2G" (default: a quarter of what the machine has): less memory means fewer
        threads, and the same numbers.
    progress : callable
        Called as progress(batch, step, steps) after each step.
    **settings
        Any field of `RunConfig`: steps=50, samples=16, seed=1, scales="5", score_options={"boundary": "zeros"}, ...

    Returns
    -------
    xarray.Dataset
        The trajectory; see the README for its schema.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    """
    if resume and overwrite:
        raise UsageError("resume and overwrite exclude each other.")
    if not isinstance(dataset, (str, DataSet)):
        raise UsageError(f"dataset must be a name or a mosaic.DataSet, not a {type(dataset).__name__}.")
    if not isinstance(settings.get("init", ""), (str, PathLike, type(None))):
        raise UsageError(f"init must be a path to a .nc or .npy file, not a {type(settings['init']).__name__}.")
    model = None if isinstance(score, str) else score
    if resume and model is not None and not isinstance(model, AnalyticMachine):
        raise UsageError("A score passed as an object cannot be resumed: nothing tells that it is the same one.")
    images = model.dataset if isinstance(model, ScoreModel) else None if isinstance(dataset, str) else dataset
    names = {"score": score if isinstance(score, str) else name_of(score)}
    names["dataset"] = images.name if images is not None else str(dataset)
    for text in ("scales", "labels", "init", "save", "save_steps"):
        if isinstance(settings.get(text), (list, tuple)):
            settings[text] = ",".join(str(item) for item in settings[text])
        elif settings.get(text) is not None:
            settings[text] = str(settings[text])
    config = layered(RunConfig, names, settings)
    plan = fit(prepare(config, data_access(data_dir, download), model, images), memory)
    return execute(
        plan, None if out is None else Path(out).expanduser(), resume=resume, overwrite=overwrite, progress=progress
    )


def data_access(data_dir: str | PathLike[str] | None, download: bool) -> DataAccess:
    """Where data may be found: `data_dir`, else MOSAIC_DATA, else the data sets' own default."""
    root = data_dir or os.environ.get("MOSAIC_DATA") or None
    return DataAccess(None if root is None else Path(root), download)


def name_of(score: Any) -> str:
    """Name under which a score object is recorded."""
    if isinstance(score, ScoreModel) and score.name:
        return score.name
    kind = score if hasattr(score, "__qualname__") else type(score)
    return f"{kind.__module__}.{kind.__qualname__}"
