"""Calibration of locality scales: the k at which a machine predicts best what a trained network does.

Along the network's own reverse trajectory, at each step, the machine's eps is compared with the network's for every
candidate k; the scale of the step is the median over samples of the k that agrees best.

References: Kamb & Ganguli 2025, app. C.2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mosaic.calibration_plan import CalibrationPlan, prepare_calibration
from mosaic.dataset import DataSet
from mosaic.runner import Progress, data_access, no_progress, provenance, run_batch, versions_of
from mosaic.score import eps_from_denoised
from mosaic.store import RunStore, as_attribute
from mosaic.trajectory import open_stored

__all__ = [
    "SCHEMA",
    "agreement",
    "calibrate",
    "calibrate_batch",
    "chosen_scales",
    "execute_calibration",
    "is_calibrated",
    "open_calibration",
]

SCHEMA = "mosaic-calibration/1"


def agreement(eps: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine similarity and Euclidean distance, each (B,), of two predictions of noise (B, C, H, W)."""
    one, two = eps.flatten(1).double(), other.flatten(1).double()
    return torch.nn.functional.cosine_similarity(one, two), torch.linalg.vector_norm(one - two, dim=1)


def calibrate_batch(plan: CalibrationPlan, batch: range, progress: Callable[[int, int], None]) -> xr.Dataset:
    """Compare the machine with the network along a batch of its trajectories, at every scale."""
    network, sizes = plan.network, plan.sizes
    trajectory = run_batch(network, batch, lambda step, steps: None)
    labels = torch.tensor(network.labels[batch.start : batch.stop], device=network.device)
    table = np.empty((2, len(batch), len(network.levels), len(sizes)))
    for step, level in enumerate(network.levels):
        one = trajectory.isel(step=step)
        x, denoised = (torch.from_numpy(one[name].values).to(network.device) for name in ("state", "denoised"))
        eps = eps_from_denoised(x, denoised, level)
        for column, size in enumerate(sizes):
            predicted = eps_from_denoised(x, plan.machine.denoise(x, level, labels, size), level)
            for row, values in enumerate(agreement(eps, predicted)):
                table[row, :, step, column] = values.cpu().numpy()
            progress(step * len(sizes) + column + 1, len(network.levels) * len(sizes))
    dims = ("sample", "step", "k")
    variables = {
        "cosine": (dims, table[0], {"long_name": "cosine similarity of the machine's eps and the network's"}),
        "distance": (dims, table[1], {"long_name": "Euclidean distance of the machine's eps and the network's"}),
    }
    coords = {"k": ("k", np.asarray(sizes), {"long_name": "locality scale", "units": "pixel"})}
    measured = xr.Dataset(variables, coords)
    return measured.assign_coords(trajectory.drop_vars(["state", "denoised", "image", "scale"]).coords)


def chosen_scales(table: xr.Dataset, criterion: str) -> xr.Dataset:
    """Choose the scale of every step from the agreement at each k.

    Parameters
    ----------
    table : xarray.Dataset
        `cosine` and `distance` along sample, step and k.
    criterion : {"cosine", "l2"}
        The best k of a sample has the highest cosine, or the least distance; on ties the smallest k.

    Returns
    -------
    xarray.Dataset
        `table` with `best` (sample, step); and along step its median `scale` (the lower one of two), its mode
        `scale_mode` (the smallest of several) and its quartiles `scale_q25` and `scale_q75`.
    """
    order = table["cosine"] if criterion == "cosine" else -table["distance"]
    best = table["k"].values[order.argmax("k").transpose("sample", "step").values]
    counts = (best[:, :, None] == table["k"].values).sum(0)
    found = {
        "best": (("sample", "step"), best, "scale that agrees best, for each sample"),
        "scale": ("step", np.percentile(best, 50, axis=0, method="lower"), "locality scale: median over samples"),
        "scale_mode": ("step", table["k"].values[counts.argmax(1)], "most frequent scale"),
        "scale_q25": ("step", np.percentile(best, 25, axis=0), "lower quartile of the scales"),
        "scale_q75": ("step", np.percentile(best, 75, axis=0), "upper quartile of the scales"),
    }
    return table.assign(
        {name: (dims, values, {"long_name": text, "units": "pixel"}) for name, (dims, values, text) in found.items()}
    )


def execute_calibration(
    plan: CalibrationPlan, out: Path, *, resume: bool = False, overwrite: bool = False, progress: Progress = no_progress
) -> xr.Dataset:
    """Calibrate, and store the table and the scales in the netCDF file `out`; returns them opened from it."""
    store, network = _store_at(out), plan.network
    store.check_place(resume=resume, overwrite=overwrite)
    facts = identity(plan)
    if resume and store.is_finished(facts):
        store.clear()
        return open_calibration(out)
    attributes = {
        **provenance(network),
        **{key: as_attribute(value) for key, value in facts.items()},
        "schema": SCHEMA,
        "title": f"scales of {plan.config.score} by the network {plan.config.checkpoint}",
    }
    with store.begin(facts, resume=resume, overwrite=overwrite):
        try:
            for number, batch in enumerate(network.batches):
                if not store.part(number).exists():
                    store.write_part(number, calibrate_batch(plan, batch, partial(progress, number)))
        except Exception:
            store.abandon()
            raise
        store.finish(len(network.batches), attributes, partial(chosen_scales, criterion=plan.config.criterion))
    return open_calibration(out)


def is_calibrated(plan: CalibrationPlan, out: Path) -> bool:
    """Tell whether a file holds the whole calibration of a plan.

    Raises
    ------
    BegunOtherwise
        If it holds another.
    """
    return _store_at(out).is_finished(identity(plan))


def _store_at(out: Path) -> RunStore:
    return RunStore(out, open_calibration, free=["configuration.checkpoint"])


def identity(plan: CalibrationPlan) -> dict[str, Any]:
    """What must agree for two calibrations to give the same table."""
    network = plan.network
    return {
        "configuration": plan.config.model_dump(mode="json"),
        "dataset_fingerprint": network.dataset.fingerprint,
        "network_fingerprint": network.model.fingerprint(),
        "versions": versions_of({"score": plan.config.score, "dataset": network.config.dataset}),
        "engine": plan.machine.engine(network.dtype),
    }


def open_calibration(path: str | PathLike[str]) -> xr.Dataset:
    """Open a stored calibration, lazily.

    Raises
    ------
    DataError
        If there is no such file, or it is no calibration.
    """
    return open_stored(Path(path), (SCHEMA,), "a calibration")


def calibrate(
    checkpoint: str | PathLike[str],
    score: str = "els",
    dataset: str | DataSet | None = None,
    *,
    out: str | PathLike[str],
    resume: bool = False,
    overwrite: bool = False,
    data_dir: str | PathLike[str] | None = None,
    memory: str | None = None,
    progress: Progress = no_progress,
    **settings: Any,
) -> xr.Dataset:
    """Choose the scales at which a machine agrees best with a trained network, as `mosaic calibrate` does.

    Parameters
    ----------
    checkpoint : path
        Folder of the trained network.
    score : str
        Score model that has scales.
    dataset : str or DataSet, optional
        Training set; by default the network's.
    out : path
        netCDF file to write; `scales=` of a run reads it.
    resume, overwrite, data_dir, memory
        As for `run`.
    progress : callable
        Called as progress(batch, done, comparisons) after each comparison.
    **settings
        Any field of `CalibrationConfig`: samples=32, sizes="3-17", criterion="l2", ...

    Returns
    -------
    xarray.Dataset
        `cosine` and `distance` (sample, step, k), `best` (sample, step), `scale` and its spread (step).

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.

    References
    ----------
    Kamb & Ganguli 2025, app. C.2.
    """
    images = dataset if isinstance(dataset, DataSet) else None
    named = {"dataset": images.name if images is not None else str(dataset)} if dataset is not None else {}
    for text in ("sizes", "labels"):
        if isinstance(settings.get(text), (list, tuple)):
            settings[text] = ",".join(map(str, settings[text]))
    layers = [{"checkpoint": str(checkpoint), "score": score, **named, **settings}]
    plan = prepare_calibration(layers, data_access(data_dir, False), memory, images)
    return execute_calibration(plan, Path(out).expanduser(), resume=resume, overwrite=overwrite, progress=progress)
