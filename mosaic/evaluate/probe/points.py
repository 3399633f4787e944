"""What each score says at each point of a probe: a noise level, and a noisy training image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.errors import UsageError
from mosaic.evaluate.probe import measures
from mosaic.evaluate.receptive_field import beside_the_centre, centres_of, field_of, width_of
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.images import variance_of
from mosaic.interfaces.schedule import Level
from mosaic.progress import Progress, piece_of, prefixed
from mosaic.run.derivative import Method, differentiate
from mosaic.run.score import Score
from mosaic.sampling.noise import sample_seed
from mosaic.storage.indexes import pixel_places
from mosaic.storage.schema import PLACES, PROBED

__all__ = ["ProbePlan", "probe_points"]

TAILS = {
    "field": ("height", "width"),
    "eigenvalue": ("mode",),
    "eigenvector": ("mode", "channel", "height", "width"),
}
"""Axes of what is no number."""


@dataclass(frozen=True)
class ProbePlan:
    """A probe, resolved and checked.

    Attributes
    ----------
    scores : mapping of str to Score
        By the names they get; the first one is the one that others are compared with, and its data are used.
    fields : mapping of str to int or None
        Receptive fields of networks, by the names of their scores; None where they are not known.
    levels : mapping of float to Level
        Noise levels by their times.
    clean, noise : Tensor (B, C, H, W)
        Training images, and the noise that they get.
    labels : Tensor (B,) or None
        Their classes, if scores are given them.
    seed : int
        Of the noise and the shifts.
    modes : int
        Eigenvalues to keep.
    shifts : int
        How many there are.
    difference : float
        As for `Score.jacobian`.
    """

    scores: Mapping[str, Score]
    fields: Mapping[str, int | None]
    levels: Mapping[float, Level]
    clean: Tensor
    noise: Tensor
    labels: Tensor | None
    seed: int
    modes: int
    shifts: int
    difference: float

    @property
    def dataset(self) -> DataSet:
        """The training set of the first score."""
        return next(iter(self.scores.values())).model.dataset

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the training set's pixels."""
        return math.sqrt(variance_of(self.dataset.images))

    def x(self, level: Level) -> Tensor:
        """Noisy images (B, C, H, W)."""
        return level.signal * self.clean + level.noise * self.noise

    def jacobian(self, own: Score, level: Level, n: int, progress: Progress) -> tuple[Tensor, Method]:
        """Give d x0hat / d x (D, C, H, W) of the n-th image, and how it was found.

        Raises
        ------
        UsageError
            If it is not finite.
        """
        label = None if self.labels is None else self.labels[n : n + 1]
        pixels, x = range(self.clean[0].numel()), self.x(level)[n : n + 1]
        scale = own.scale_at(level)
        found, method = differentiate(own.model, x, level, label, scale, pixels, self.difference, progress)
        if not bool(torch.isfinite(found).all()):
            raise UsageError(f"{own!r} is not finite at noise {level.noise:.3g}, so it cannot be probed there.")
        return found[0], method

    def measured(self, slopes: Tensor, level: Level) -> dict[str, Any]:
        """What a Jacobian (D, C, H, W) says by itself."""
        shape, matrix = slopes.shape[1:], level.signal * slopes.flatten(1)
        field = field_of(slopes[None, centres_of(shape)], level).cpu().numpy()
        values, vectors = measures.eigenbasis(matrix)
        if float(matrix.norm()) < measures.VANISHES:
            vectors = vectors * math.nan  # they are those of rounding errors
        return {
            "field": field,
            "field_width": width_of(beside_the_centre(field) ** 2) if vectors.isfinite().all() else math.nan,
            "eigenvalue": values[: self.modes].cpu().numpy(),
            "eigenvector": vectors[: self.modes].unflatten(1, shape).float().cpu().numpy(),
            "trace": float(matrix.trace()),
            "effective_rank": measures.effective_rank(values),
            "curl": measures.curl(matrix),
        }

    def equivariance(self, name: str, level: Level, dtype: torch.dtype) -> dict[str, np.ndarray]:
        """Errors (B,) of x0hat of shifted images, evaluated in `dtype`."""
        own = self.scores[name]
        scale = own.scale_at(level)

        def denoise(x: Tensor) -> Tensor:
            return own.model.denoise(x, level, self.labels, scale)

        shifts = measures.seeded_shifts(self.seed, self.shifts, *self.clean.shape[2:])
        window = self.fields.get(name, own.model.traits.window(scale))
        whole, inside = measures.equivariance_errors(denoise, self.x(level).to(dtype), shifts, window)
        errors = {"equivariance_error": whole, "equivariance_error_interior": inside}
        return {key: (error / self.spread).cpu().numpy() for key, error in errors.items()}


@standard_torch()
def probe_points(plan: ProbePlan, progress: Progress) -> xr.Dataset:
    """Probe every score at every level and image; `progress` is in images."""
    count, methods = len(plan.clean), {}
    sizes = (len(plan.scores), len(plan.levels), count)
    table: dict[str, np.ndarray] = {}
    total = int(np.prod(sizes))

    def keep(place: tuple[int, ...], said: Mapping[str, Any]) -> None:
        for key, value in said.items():
            values = np.asarray(value)
            shape = (*sizes[: len(place)], *values.shape) if len(place) == 3 else sizes
            kind = values.dtype if key == "eigenvector" else np.float64
            table.setdefault(key, np.full(shape, np.nan, kind))[place] = values

    progress(0, total, "image", "starting")
    for column, (t, level) in enumerate(plan.levels.items()):
        references: dict[int, Tensor] = {}
        for row, (name, own) in enumerate(plan.scores.items()):
            report, before = prefixed(progress, f"t = {t:.2f}, {name}"), (column * len(plan.scores) + row) * count
            for n in range(count):
                slopes, methods[name] = plan.jacobian(own, level, n, piece_of(report, before + n, 1, total, "image"))
                reference = references.setdefault(n, slopes)
                similarity = measures.cosine(slopes.flatten(1), reference.flatten(1))
                keep((row, column, n), {**plan.measured(slopes, level), "similarity": similarity})
                report(before + n + 1, total, "image")
            dtype = plan.clean.dtype if methods[name] == "torch" else torch.float64
            keep((row, column), plan.equivariance(name, level, dtype))
    return _as_dataset(plan, table, methods)


def _as_dataset(plan: ProbePlan, table: Mapping[str, np.ndarray], methods: Mapping[str, str]) -> xr.Dataset:
    """Name the axes; leave out what there is none of."""
    left_out = {"similarity"} if len(plan.scores) == 1 else set()
    left_out |= {"eigenvalue", "eigenvector"} if plan.modes == 0 else set()
    variables: dict[str, Any] = {
        name: ((*PROBED, *TAILS.get(name, ())), values) for name, values in table.items() if name not in left_out
    }
    states = torch.stack([plan.x(level) for level in plan.levels.values()]).cpu().numpy()
    variables["state"] = (("time", "sample", "channel", "height", "width"), states)
    levels, samples = list(plan.levels.values()), range(len(plan.clean))
    coordinates: dict[str, Any] = {
        "score": list(plan.scores),
        "method": ("score", [methods[name] for name in plan.scores]),
        "time": list(plan.levels),
        "signal": ("time", [level.signal for level in levels]),
        "noise": ("time", [level.noise for level in levels]),
        "scale": (("score", "time"), [[float(own.scale_at(at)) for at in levels] for own in plan.scores.values()]),
        "sample": list(samples),
        "seed": ("sample", [sample_seed(plan.seed, n) for n in samples]),
        "label": ("sample", [-1] * len(samples) if plan.labels is None else plan.labels.cpu().numpy()),
        **({"mode": range(plan.modes)} if plan.modes else {}),
    }
    places = {name: (PLACES[name].dims, list(each)) for name, each in pixel_places(*plan.clean.shape[2:]).items()}
    return xr.Dataset(variables, {**coordinates, **places})
