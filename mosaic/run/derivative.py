"""Derivatives of x0hat by x: in closed form where a score model has one, by torch where it can, else by differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mosaic.device import physical_memory
from mosaic.errors import UsageError, warn_of
from mosaic.interfaces.schedule import Level
from mosaic.interfaces.score import ScoreModel
from mosaic.progress import Progress, silent

__all__ = ["DIFFERENCE", "Jacobian", "Method", "check_difference", "check_memory", "differentiate"]

DIFFERENCE = 1e-4  # of x, in units of its noise

TOGETHER = 64  # images evaluated at a time

UNRESOLVED = 2e-3  # change of a derivative with the difference, from which on it is told

COPIES = 4  # of a Jacobian that are held while it is computed and measured

Method = Literal["closed form", "torch", "differences"]


@dataclass(frozen=True, repr=False)
class Jacobian:
    """The derivative of x0hat by x.

    Attributes
    ----------
    matrix : Tensor (B, C, H, W, C, H, W), float64
        d x0hat / d x of each sample: first the pixel of x0hat, then that of x.
    method : {"closed form", "torch", "differences"}
        How it was found: as a covariance, exact up to rounding in float64; by torch, in the precision of x or of the
        network; or by central differences in float64.
    """

    matrix: Tensor
    method: Method

    def __repr__(self) -> str:
        return f"Jacobian(B, C, H, W, C, H, W = {tuple(self.matrix.shape)}, by {self.method})"


def check_difference(difference: float) -> None:
    """Refuse a length of differences that is not between 0 and 1.

    Raises
    ------
    UsageError
        With the length.
    """
    if not 0 < difference < 1:
        raise UsageError(f"`difference` is {difference}; it must be between 0 and 1.")


def check_memory(samples: int, shape: Sequence[int]) -> None:
    """Refuse Jacobians of `samples` images (C, H, W) at a time that would take more than half of the memory.

    Raises
    ------
    UsageError
        With what they take, and what there is.
    """
    pixels, physical = int(torch.Size(shape).numel()), physical_memory()
    needed = COPIES * 8 * samples * pixels**2
    if physical is not None and needed > physical // 2:
        raise UsageError(
            f"Jacobians of {samples} image{'s' * (samples > 1)} of {pixels} pixels are {samples} x {pixels} x {pixels} "
            f"numbers, and take {needed / 2**30:.1f} GiB; half of the memory is {physical / 2**31:.1f} GiB. Use "
            "smaller images, or fewer at a time."
        )


def differentiate(
    model: ScoreModel,
    x: Tensor,
    level: Level,
    labels: Tensor | None,
    scale: float,
    pixels: Sequence[int],
    difference: float = DIFFERENCE,
    progress: Progress = silent,
) -> tuple[Tensor, Method]:
    """Give the derivatives (B, P, C, H, W), float64, of these P pixels of x0hat, counted in the flat image, by x.

    Parameters
    ----------
    model, x, level, labels, scale
        As for `ScoreModel.jacobian`.
    difference : float
        Length of the difference of x, over its noise, where there is no closed form and torch cannot differentiate.
    progress : Progress
        Called before each image that is not done together with others.

    Warns
    -----
    MosaicWarning
        If derivatives by differences depend on `difference`.
    """
    model.dataset.check_batch(x, labels)
    own = [None if labels is None else labels[n : n + 1] for n in range(len(x))]

    def closed(n: int) -> Tensor | None:
        matrix = model.jacobian(x[n : n + 1], level, own[n], scale)
        return None if matrix is None else matrix[0].flatten(0, 2)[list(pixels)]

    progress(0, len(x), "image", "starting")
    first = closed(0)
    if first is not None:
        rows = [first]
        for n in range(1, len(x)):
            progress(n, len(x), "image", "in closed form")
            rows.append(closed(n))  # type: ignore[arg-type]  # as of the first one
        return torch.stack(rows), "closed form"
    by_torch = _by_torch(model, x, level, labels, scale, pixels)
    if by_torch is not None:
        return by_torch.double(), "torch"
    rows = []
    for n, image in enumerate(x.double()):
        progress(n, len(x), "image", "by differences")
        rows.append(_by_differences(model, image, level, own[n], scale, pixels, difference))
    wider = _by_differences(model, x[0].double(), level, own[0], scale, pixels, 4 * difference)
    _warn_unresolved(rows[0], wider, level, pixels, difference)
    return torch.stack(rows), "differences"


def _by_torch(
    model: ScoreModel, x: Tensor, level: Level, labels: Tensor | None, scale: float, pixels: Sequence[int]
) -> Tensor | None:
    """Derivatives (B, P, C, H, W), several pixels at a time, each in a copy of the batch; None if torch cannot."""
    parts, copies = [], max(1, TOGETHER // len(x))
    for first in range(0, len(pixels), copies):
        chosen = torch.tensor(pixels[first : first + copies], dtype=torch.int64, device=x.device)
        with torch.enable_grad():
            given = x.repeat(len(chosen), 1, 1, 1).requires_grad_()
            told = None if labels is None else labels.repeat(len(chosen))
            denoised = model.denoise(given, level, told, scale)
            if not denoised.requires_grad:
                return None
            own = denoised.flatten(1).gather(1, chosen.repeat_interleave(len(x))[:, None])
            slopes = torch.autograd.grad(own.sum(), given)[0]
        parts.append(slopes.unflatten(0, (len(chosen), len(x))))
    return torch.cat(parts).transpose(0, 1)


@torch.no_grad()
def _by_differences(
    model: ScoreModel,
    image: Tensor,
    level: Level,
    label: Tensor | None,
    scale: float,
    pixels: Sequence[int],
    difference: float,
) -> Tensor:
    """Derivatives (P, C, H, W) of one image, from two evaluations for each of its values."""
    shape, length = image.shape, difference * level.noise
    units = torch.eye(shape.numel(), dtype=torch.float64, device=image.device).unflatten(1, shape)
    slopes = []
    for directions in units.split(TOGETHER // 2):
        moved = torch.cat([image + length * directions, image - length * directions])
        labels = None if label is None else label.expand(len(moved))
        ahead, behind = model.denoise(moved, level, labels, scale).flatten(1)[:, list(pixels)].chunk(2)
        slopes.append((ahead - behind) / (2 * length))
    result: Tensor = torch.cat(slopes).mT.unflatten(1, shape)
    return result


def _warn_unresolved(slopes: Tensor, wider: Tensor, level: Level, pixels: Sequence[int], difference: float) -> None:
    """Warn if derivatives (P, C, H, W) differ from those by a wider difference, measured by those of a x0hat - x."""
    residual = level.signal * slopes.flatten(1)
    residual[range(len(pixels)), list(pixels)] -= 1
    apart = float(level.signal * (wider - slopes).abs().max() / residual.abs().max())
    if apart > UNRESOLVED:
        warn_of(
            [
                f"Derivatives of this score at noise {level.noise:.3g} change by {apart:.0%} if `difference` is "
                f"{4 * difference:g}, not {difference:g}; if the score computes in float32, 1e-2 is better."
            ]
        )
