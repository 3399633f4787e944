"""Trajectories: a stored run as a plain `xarray.Dataset` of the schema; and its training set, read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mosaic.errors import DataError, UsageError
from mosaic.interfaces.dataset import DataAccess, DataSet
from mosaic.interfaces.schedule import Level
from mosaic.registry.data import load_dataset
from mosaic.storage.files import open_stored
from mosaic.storage.schema import RUN, TABLES, TRAJECTORY_SCHEMA, described

__all__ = [
    "as_run",
    "assemble",
    "attribute_of",
    "check_same_start",
    "check_whole",
    "levels_of",
    "open_trajectory",
    "start_noise",
    "training_set_of",
]


def assemble(
    states: Sequence[Tensor],
    denoised: Sequence[Tensor],
    coordinates: Mapping[str, Sequence[float] | Sequence[int]],
    saved: Mapping[str, np.ndarray] | None = None,
) -> xr.Dataset:
    """Make the data set of one batch.

    Parameters
    ----------
    states, denoised : sequences of Tensor (B, C, H, W)
        One entry a step, from noise to data; float32, or float64 where the run computed in it.
    coordinates : mapping
        `sample` (index in the run), `seed` and `label` of each sample; `time`, `signal`, `noise` and `scale` of each
        step.
    saved : mapping, optional
        More variables, by their names in the schema.
    """
    table = TABLES[TRAJECTORY_SCHEMA]
    arrays = {
        "state": np.stack([x.cpu().numpy() for x in states], axis=1),
        "denoised": np.stack([x.cpu().numpy() for x in denoised], axis=1),
        "image": denoised[-1].cpu().numpy(),
        **(saved or {}),
    }
    columns = {**coordinates, "step": range(len(states))}
    return described(
        xr.Dataset(
            {name: (table[name].dims, values) for name, values in arrays.items()},
            {name: (table[name].dims, np.asarray(values, table[name].dtype)) for name, values in columns.items()},
        ),
        TRAJECTORY_SCHEMA,
    )


def levels_of(trajectory: xr.Dataset) -> list[Level]:
    """Noise levels of a trajectory's steps, from noise to data."""
    pairs = zip(trajectory["signal"].values, trajectory["noise"].values, strict=True)
    return [Level(float(signal), float(noise)) for signal, noise in pairs]


def open_trajectory(path: str | PathLike[str]) -> xr.Dataset:
    """Open a stored run, lazily; `xarray.open_dataset` does as well, but this checks that it is one.

    Raises
    ------
    DataError
        If there is no such file, or it is not a trajectory of a schema known here.
    """
    stored = open_stored(Path(path), (TRAJECTORY_SCHEMA,), "a stored run")
    if any(name not in stored for name in RUN):
        stored.close()
        raise DataError(f"'{path}' is not a stored run: it lacks one of {', '.join(RUN)}.")
    run = as_run(stored)
    if run is not stored:  # a data set that was changed knows no file to close
        run.set_close(stored.close)
    return run


def as_run(dataset: xr.Dataset) -> xr.Dataset:
    """Give a data set the axes of a run by their names, in the schema's order; a selected sample is a run of one.

    What is not a variable of a run stays as it is.
    """
    if "sample" in dataset.coords and "sample" not in dataset.dims:
        single = {name: ("sample", [dataset[name].item()]) for name in ("seed", "label") if name in dataset.coords}
        dataset = dataset.drop_vars(single).expand_dims("sample").assign_coords(single)
    turned = {
        name: variable.transpose(*_dims_of(str(name)))
        for name, variable in dataset.data_vars.items()
        if variable.dims != _dims_of(str(name)) and set(variable.dims) == set(_dims_of(str(name)))
    }
    return dataset.assign(turned) if turned else dataset


def _dims_of(name: str) -> tuple[str, ...]:
    variable = TABLES[TRAJECTORY_SCHEMA].get(name)
    return () if variable is None else variable.dims


def start_noise(run: xr.Dataset) -> np.ndarray:
    """Give the standard normal noise (sample, channel, height, width), float64, that a run started from.

    Raises
    ------
    DataError
        If it does not hold its first step, that step is not at t = 1, or its axes are not those of a run.
    """
    run = as_run(run)
    steps = np.atleast_1d(run["step"].values).tolist() if "step" in run.variables else []
    if "step" not in run.dims or 0 not in steps:
        raise DataError("The run does not hold its first step, which has the noise it started from.")
    first = run.isel(step=steps.index(0))
    time, noise = float(first["time"]), float(first["noise"])
    if not (time == 1 and 0 < noise < np.inf):
        raise DataError(f"The run's first step is at t = {time:g} with noise {noise:g}; noise is at t = 1.")
    state = first["state"]
    if state.dims != TABLES[TRAJECTORY_SCHEMA]["image"].dims:
        raise DataError(f"The run's states have axes {state.dims}, not {TABLES[TRAJECTORY_SCHEMA]['image'].dims}.")
    return np.asarray(state.values, np.float64) / noise


def attribute_of(run: xr.Dataset, name: str) -> Any:
    """Read a root attribute of a run, JSON decoded.

    Raises
    ------
    DataError
        If this is not a run.
    """
    if name not in run.attrs or "sample" not in run.dims:
        raise DataError("This data set is not a run of mosaic, or not all of one: attributes or samples are lacking.")
    return json.loads(run.attrs[name])


def tensor_of(run: xr.Dataset, name: str) -> torch.Tensor:
    """Give the values of a variable as a tensor, in whatever way the run was sliced."""
    return torch.from_numpy(np.ascontiguousarray(run[name].values))


def check_whole(run: xr.Dataset) -> None:
    """Refuse a run whose last step is not the flow's last one.

    Raises
    ------
    DataError
        Also if this is not a run.
    """
    steps = attribute_of(run, "configuration")["steps"]
    if "step" not in run.dims or run["step"].values.tolist()[-1:] != [steps - 1]:
        raise DataError(f"This needs the run to its end, step {steps - 1}, in order; steps were selected from it.")


def training_set_of(run: xr.Dataset, access: DataAccess) -> DataSet:
    """Read the training set of a stored run again.

    Raises
    ------
    DataError
        If it is not there, or is no longer the same.
    """
    configuration = json.loads(run.attrs["configuration"])
    dataset = load_dataset(configuration["dataset"], configuration["dataset_options"], access)
    if dataset.fingerprint() != json.loads(run.attrs["dataset_fingerprint"]):
        raise DataError(f"Data set '{configuration['dataset']}' is no longer the one that the run was made with.")
    return dataset


# Start noise is float32, multiplied by a run's s(1) and later divided by it: equal noise agrees up to this rounding.
START_TOLERANCE = 1e-4


def check_same_start(run: xr.Dataset, other: xr.Dataset, role: str) -> None:
    """Refuse two runs that did not start from the same noise and labels.

    Raises
    ------
    UsageError
        With what differs, and how to make runs that can be compared.
    DataError
        If one does not hold its first step.
    """
    run, other, advice = as_run(run), as_run(other), "make it with `init`, the other run's file"
    if run["image"].shape != other["image"].shape:
        raise UsageError(
            f"The {role} holds images of shape {other['image'].shape}, the run of shape {run['image'].shape} (sample, "
            f"channel, height, width); {advice}."
        )
    starts = [start_noise(each) for each in (run, other)]
    distances = np.abs(starts[0] - starts[1]).reshape(len(starts[0]), -1).max(1)
    differ = distances > START_TOLERANCE
    if differ.any():
        raise UsageError(
            f"The {role} did not start from the run's noise: {int(differ.sum())} of {len(differ)} samples differ, by "
            f"up to {distances.max():.3g}; {advice}."
        )
    if run["label"].values.tolist() != other["label"].values.tolist():
        raise UsageError(f"The {role} has other labels than the run; {advice}.")
