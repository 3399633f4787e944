"""Trajectories: a stored run as a plain `xarray.Dataset` of the schema; and its training set, read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from torch import Tensor

from mosaic.errors import DataError, PluginError, UsageError
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.schedule import Level
from mosaic.registry.data import load_dataset
from mosaic.registry.loading import registry
from mosaic.storage.files import open_stored
from mosaic.storage.indexes import pixel_places
from mosaic.storage.requirements import as_run, attribute_of, known_values, require, setting_of
from mosaic.storage.schema import RUN, TABLES, TRAJECTORY_SCHEMA, described

__all__ = [
    "assemble",
    "check_same_start",
    "check_training_set",
    "levels_of",
    "open_trajectory",
    "sample_blocks",
    "start_noise",
    "training_set_of",
]


def assemble(
    states: Sequence[Tensor],
    denoised: Sequence[Tensor],
    image: Tensor,
    coordinates: Mapping[str, Sequence[float] | Sequence[int]],
    saved: Mapping[str, np.ndarray] | None = None,
) -> xr.Dataset:
    """Make the data set of one batch.

    Parameters
    ----------
    states, denoised : sequences of Tensor (B, C, H, W)
        One entry a step, from noise to data; float32, or float64 where the run computed in it.
    image : Tensor (B, C, H, W)
        The final images.
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
        "image": image.cpu().numpy(),
        **(saved or {}),
    }
    columns = {**coordinates, "step": range(len(states)), **pixel_places(*image.shape[2:])}
    return described(
        xr.Dataset(
            {name: (table[name].dims, values) for name, values in arrays.items()},
            {name: (table[name].dims, np.asarray(values, table[name].dtype)) for name, values in columns.items()},
        ),
        TRAJECTORY_SCHEMA,
    )


def levels_of(trajectory: xr.Dataset) -> list[Level]:
    """Noise levels of a trajectory's steps, from noise to data."""
    pairs = zip(known_values(trajectory, "signal").values, known_values(trajectory, "noise").values, strict=True)
    return [Level(float(signal), float(noise)) for signal, noise in pairs]


def open_trajectory(path: str | PathLike[str]) -> xr.Dataset:
    """Open a stored run, lazily, indexed by `step` and by `time`, as `mosaic.open` describes it.

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


def start_noise(run: xr.Dataset, what: str = "run") -> np.ndarray:
    """Give the standard normal noise (sample, channel, height, width), float64, that a run started from.

    Raises
    ------
    DataError
        If it does not hold its first step, or that has no noise.
    """
    run = require(run, ("state", "step", "time", "noise"), what)
    steps = known_values(run, "step", what).values.tolist()
    if 0 not in steps:
        raise DataError(f"The {what} does not hold its first step, which has the noise it started from.")
    first = run.isel(step=[steps.index(0)])
    time, noise = (float(known_values(first, name, what)[0]) for name in ("time", "noise"))
    if not (0 < time <= 1 and noise > 0):
        raise DataError(f"The {what}'s first step is at t = {time:g} with noise {noise:g}; no run starts there.")
    return np.asarray(known_values(first, "state", what).values[:, 0], np.float64) / noise


def training_set_of(run: xr.Dataset, access: DataAccess) -> DataSet:
    """Read the training set of a stored run again.

    Raises
    ------
    DataError
        If it is not there or was given as an object, or is no longer the same.
    """
    name, options = setting_of(run, "dataset"), setting_of(run, "dataset_options")
    attribute_of(run, "dataset_fingerprint")  # before the training set is read, which can take long
    try:
        registry().get("dataset", name)
    except PluginError as error:
        raise DataError(
            f"{error} If the run was made of a DataSet in Python, give it there again: "
            "run.mosaic.mosaic_map(0, dataset); run.mosaic.plot.provenance(0, dataset)."
        ) from None
    dataset = load_dataset(name, options, access)
    _check_fingerprint(run, dataset)
    return dataset


def check_training_set(run: xr.Dataset, dataset: DataSet) -> None:
    """Refuse a data set that is not the one that a run was made with, and a run whose images are not whole any more.

    Raises
    ------
    DataError
        Also if the run does not say with which one it was made.
    UsageError
        If rows, columns or channels were selected from the run.
    """
    _check_fingerprint(run, dataset)
    shape = require(run, ("image",))["image"].shape
    if shape[1:] != dataset.shape:
        raise UsageError(
            f"The run has images of shape {shape} (sample, channel, height, width), its training set of shape "
            f"{dataset.shape}; use the run as it was stored."
        )


def _check_fingerprint(run: xr.Dataset, dataset: DataSet) -> None:
    wanted, given = attribute_of(run, "dataset_fingerprint"), dataset.fingerprint()
    if given != wanted:
        raise DataError(
            f"Data set '{dataset.name}' is not, or no longer, the one that the run was made with: its fingerprint is "
            f"{given[:12]}, not {wanted[:12]}; use the one of '{setting_of(run, 'dataset')}'."
        )


BLOCK = 2**24  # bytes of state and x0hat that are read at a time, where a sample has no more


def sample_blocks(run: xr.Dataset) -> list[slice]:
    """Blocks of samples in which a stored run is read, so that not all of its trajectories are in memory."""
    total = run.sizes["sample"]
    length = max(1, BLOCK * total // max(1, run.nbytes))
    return [slice(first, min(first + length, total)) for first in range(0, total, length)]


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
    needed, advice = ("image", "label"), "make it with `init`, the other run's file"
    run, other = require(run, needed), require(other, needed, role)
    if run["image"].shape != other["image"].shape:
        raise UsageError(
            f"The {role} holds images of shape {other['image'].shape}, the run of shape {run['image'].shape} (sample, "
            f"channel, height, width); {advice}."
        )
    distances = np.concatenate(
        [
            np.abs(start_noise(run.isel(sample=block)) - start_noise(other.isel(sample=block), role)).max((1, 2, 3))
            for block in sample_blocks(run)
        ]
    )
    differ = distances > START_TOLERANCE
    if differ.any():
        raise UsageError(
            f"The {role} did not start from the run's noise: {int(differ.sum())} of {len(differ)} samples differ, by "
            f"up to {distances.max():.3g}; {advice}."
        )
    if known_values(run, "label").values.tolist() != known_values(other, "label", role).values.tolist():
        raise UsageError(f"The {role} has other labels than the run; {advice}.")
