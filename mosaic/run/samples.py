"""The samples of a run: their start noise, seeds and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mosaic.errors import DataError, UsageError
from mosaic.interfaces.arrays import LARGEST
from mosaic.interfaces.dataset import DataSet
from mosaic.run.config import RunConfig
from mosaic.run.settings import refuse_unused
from mosaic.sampling.noise import random_labels, sample_seed
from mosaic.storage.requirements import known_values
from mosaic.storage.trajectory import open_trajectory, start_noise

__all__ = ["samples_of"]


def samples_of(
    config: RunConfig, dataset: DataSet, *, is_stochastic: bool
) -> tuple[Tensor | None, tuple[int, ...], tuple[int, ...]]:
    """Give the start noise (None: from the seed), seeds and labels of a run's samples.

    `is_stochastic` is whether its sampler draws noise.

    Raises
    ------
    UsageError
        If `init` or `labels` cannot be used, or `seed` would not be.
    """
    if config.init is None:
        count = config.samples or 4
        seeds = tuple(sample_seed(config.seed, i) for i in range(count))
        return None, seeds, _labels(config, dataset, count)
    start, seeds, labels = _read_init(Path(config.init))
    if tuple(start.shape[1:]) != dataset.shape:
        raise UsageError(
            f"`init` '{config.init}' holds images of shape {tuple(start.shape[1:])}; data set '{dataset.name}' has "
            f"shape {dataset.shape} (channels, height, width); use the `dataset` that it was made with."
        )
    count = config.samples or len(start)
    if count > len(start):
        raise UsageError(f"`init` '{config.init}' holds {len(start)} samples, fewer than `samples` {count}.")
    if config.labels != "random" and not (is_stochastic and -1 in seeds):
        refuse_unused({"seed": config.seed}, "noise and labels are those of `init`")
    if config.labels is not None:
        return start[:count], seeds[:count], _labels(config, dataset, count)
    _check_labels(labels, dataset, f"`init` '{config.init}'")
    return start[:count], seeds[:count], labels[:count]


def _read_init(path: Path) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    if not path.is_file():
        raise UsageError(f"There is no `init` file '{path}'.")
    if path.suffix != ".npy":
        try:
            run = open_trajectory(path)
        except DataError as error:
            raise UsageError(f"`init`: {error}") from None
        with run:
            try:
                start = torch.from_numpy(np.ascontiguousarray(start_noise(run)))
                seeds, labels = (tuple(known_values(run, name).values.tolist()) for name in ("seed", "label"))
            except DataError as error:
                raise UsageError(f"`init` '{path}': {error}") from None
            _check_noise(start.numpy(), path)
            return start, seeds, labels
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"`init` '{path}' cannot be read as a .npy array: {error}.") from None
    if array.ndim != 4 or array.dtype.kind != "f" or array.size == 0:
        raise UsageError(
            f"`init` '{path}' must hold floating-point noise of shape (samples, channels, height, width), not "
            f"{array.dtype} of shape {array.shape}."
        )
    _check_noise(array, path)
    unknown = (-1,) * len(array)
    return torch.from_numpy(array.astype(np.float64)), unknown, unknown


def _check_noise(array: np.ndarray, path: Path) -> None:
    if not (np.abs(array) <= LARGEST).all():  # with NaN the comparison is false
        raise UsageError(f"`init` '{path}' holds NaN, infinity or values beyond {LARGEST:g}; noise is standard normal.")


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
