"""The samples of a run: their start noise, seeds and labels."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mosaic.containers.access import is_there
from mosaic.errors import DataError, UsageError
from mosaic.interfaces.arrays import LARGEST
from mosaic.interfaces.dataset import DataSet
from mosaic.run.config import RunConfig
from mosaic.run.settings import refuse_unused
from mosaic.sampling.noise import random_labels, sample_seed
from mosaic.storage.requirements import attribute_of, known_values, require
from mosaic.storage.trajectory import open_trajectory, start_noise

__all__ = ["Init", "Samples", "described_init", "samples_of"]


Init = str | PathLike[str] | xr.Dataset | np.ndarray | Tensor
"""What a run may start from: a file, a run, or standard normal noise (samples, channels, height, width)."""


class Samples(NamedTuple):
    """The samples of a run.

    Attributes
    ----------
    start : Tensor (samples, C, H, W), float64, or None
        Standard normal noise to start from; None where it comes from the seed.
    seeds, labels : tuple of int
        One entry a sample; -1 for no seed that is known, and no class.
    notes : tuple of str
        What is probably unintended.
    """

    start: Tensor | None
    seeds: tuple[int, ...]
    labels: tuple[int, ...]
    notes: tuple[str, ...] = ()


def samples_of(config: RunConfig, dataset: DataSet, init: Init | None = None, *, is_stochastic: bool) -> Samples:
    """Give start noise, seeds and labels of a run's samples.

    Parameters
    ----------
    init : optional
        What to start from, in place of the file `config.init`.
    is_stochastic : bool
        Whether the run's sampler draws noise.

    Raises
    ------
    UsageError
        If `init` or `labels` cannot be used, or `seed` would not be.
    """
    init = config.init if init is None else init
    if init is None:
        count = config.samples or 4
        seeds = tuple(sample_seed(config.seed, i) for i in range(count))
        return Samples(None, seeds, _labels(config, dataset, count))
    what = described_init(init)
    given = _start_of(init, what, config.samples)
    start, seeds, labels = given.noise, given.seeds, given.labels
    if tuple(start.shape[1:]) != dataset.shape:
        raise UsageError(
            f"`init` {what} holds images of shape {tuple(start.shape[1:])}; data set '{dataset.name}' has "
            f"shape {dataset.shape} (channels, height, width); use the `dataset` that it was made with."
        )
    count = config.samples or len(start)
    if count > len(start):
        raise UsageError(f"`init` {what} holds {len(start)} samples, fewer than `samples` {count}.")
    if config.labels != "random" and not (is_stochastic and -1 in seeds):
        refuse_unused({"seed": config.seed}, "noise and labels are those of `init`")
    notes = _oddities(start[:count], what)
    if config.labels is not None:
        return Samples(start[:count], seeds[:count], _labels(config, dataset, count), notes)
    _check_labels(labels, dataset, f"`init` {what}")
    for label in sorted({*labels} - {-1}):
        here, there = dataset.classes[label], dict(enumerate(given.classes)).get(label)
        if there is not None and there != here:
            raise UsageError(
                f"`init` {what} has samples of class {label}, '{there}', which is '{here}' in data set "
                f"'{dataset.name}'; say which `labels` are meant."
            )
    return Samples(start[:count], seeds[:count], labels[:count], notes)


def _oddities(start: Tensor, what: str) -> tuple[str, ...]:
    """Say that noise is far from standard normal, which a few values may be by chance."""
    deviation = float(start.std(correction=0))
    if start.numel() < 30 or 0.5 < deviation < 2:
        return ()
    return (f"`init` {what} has a standard deviation of {deviation:.3g}; it is taken for noise of 1.",)


class _Start(NamedTuple):
    noise: Tensor
    seeds: tuple[int, ...]
    labels: tuple[int, ...]
    classes: Sequence[str] = ()  # names of the labels, where they are known


def described_init(init: Init) -> str:
    """Say what a run starts from: a file by its path, a run or an array by what it is."""
    if isinstance(init, (str, PathLike)):
        return f"'{fspath(init)}'"
    if isinstance(init, xr.Dataset):
        return f"(a run of {init.sizes.get('sample', 1)} samples)"
    return f"(an array of {init.dtype} of shape {tuple(init.shape)})"


def _start_of(init: Init, what: str, count: int | None) -> _Start:
    """Read noise, seeds and labels, of a run those of its first `count` samples; an array has no seeds and labels."""
    if isinstance(init, xr.Dataset):
        return _start_of_run(init, what, count)
    if isinstance(init, (str, PathLike)):
        path = Path(init)
        if not is_there(path):
            raise UsageError(f"There is no `init` file {what}.")
        if path.suffix != ".npy":
            try:
                run = open_trajectory(path)
            except DataError as error:
                raise UsageError(f"`init`: {error}") from None
            with run:
                return _start_of_run(run, what, count)
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"`init` {what} cannot be read as a .npy array: {error}.") from None
    else:
        array = init.detach().cpu().double().numpy() if isinstance(init, Tensor) and init.is_floating_point() else init
        array = np.asarray(array)
    if array.ndim != 4 or array.dtype.kind != "f" or array.size == 0:
        raise UsageError(
            f"`init` {what} must hold floating-point noise of shape (samples, channels, height, width); it holds "
            f"{'floating-point' if array.dtype.kind == 'f' else array.dtype} numbers of shape {array.shape}."
        )
    _check_noise(array, what)
    unknown = (-1,) * len(array)
    return _Start(torch.from_numpy(array.astype(np.float64)), unknown, unknown)


def _start_of_run(run: xr.Dataset, what: str, count: int | None) -> _Start:
    try:
        run = require(run, ("state",)).isel(sample=slice(count))
        start = torch.from_numpy(np.ascontiguousarray(start_noise(run)))
        labels = tuple(known_values(run, "label").values.tolist())
        seeds = tuple(known_values(run, "seed").values.tolist()) if "seed" in run.variables else (-1,) * len(labels)
        classes = attribute_of(run, "dataset_classes") if "dataset_classes" in run.attrs else ()
    except DataError as error:
        raise UsageError(f"`init` {what}: {error}") from None
    _check_noise(start.numpy(), what)
    return _Start(start, seeds, labels, classes)


def _check_noise(array: np.ndarray, what: str) -> None:
    if not (np.abs(array) <= LARGEST).all():  # with NaN the comparison is false
        raise UsageError(f"`init` {what} holds NaN, infinity or values beyond {LARGEST:g}; noise is standard normal.")


def _labels(config: RunConfig, dataset: DataSet, count: int) -> tuple[int, ...]:
    spec = (config.labels or "none").strip()
    if spec == "none":
        return (-1,) * count
    if dataset.labels is None:
        raise UsageError(f"`labels` {spec}: data set '{dataset.name}' has no labels; use `labels` none.")
    if spec == "random":
        return tuple(random_labels(config.seed, count, dataset.labels.unique().tolist()))
    try:
        labels = tuple(int(item) for item in spec.split(","))
    except ValueError:
        raise UsageError(f"`labels` '{spec}' must be none, random, or a list of classes such as 0,3,7.") from None
    if len(labels) == 1:
        labels *= count
    if len(labels) != count:
        raise UsageError(
            f"`labels` lists {len(labels)} classes for {count} samples; list one a sample, or use `samples` "
            f"{len(labels)}."
        )
    _check_labels(labels, dataset, "`labels`")
    return labels


def _check_labels(labels: Sequence[int], dataset: DataSet, origin: str) -> None:
    present = {-1} if dataset.labels is None else {-1, *dataset.labels.unique().tolist()}
    for label in labels:
        if label not in present:
            known = ", ".join(str(c) for c in sorted(present - {-1})) or "none"
            raise UsageError(f"{origin}: label {label} is not a class of data set '{dataset.name}'; classes: {known}.")
