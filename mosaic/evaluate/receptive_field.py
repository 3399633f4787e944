"""Receptive fields: what of x the score at one pixel depends on, by its derivative.

References: Kamb & Ganguli 2025, fig. 4a and app. C.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.errors import UsageError, warn_of
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.sampler import uniform_times
from mosaic.interfaces.schedule import Level
from mosaic.progress import Progress, piece_of, prefixed, reporting
from mosaic.run.score import Score
from mosaic.sampling.noise import initial_noise
from mosaic.storage.indexes import pixel_places
from mosaic.storage.schema import PLACES

__all__ = ["SHARE", "beside_the_centre", "receptive_field", "width_of"]

SHARE = 0.95
STEPS = 20  # of the default times

DIFFERENCE = 1e-4  # of x, in units of its noise, for what is not differentiable by torch

TOGETHER = 64  # images evaluated at a time

UNRESOLVED = 2e-3  # change of a derivative with the difference, from which on it is told


@checked()
@standard_torch()
def receptive_field(
    score: Score,
    times: Sequence[float] | None = None,
    *,
    images: int = 32,
    seed: int = 0,
    difference: float = DIFFERENCE,
    class_conditional: bool = False,
    progress: Progress | bool | None = True,
) -> xr.Dataset:
    """Measure how far the score at the central pixel looks: the mean of |d score(centre) / d x|.

    The mean is over noisy training images, and over channels of both. Networks, and whatever computes with torch
    alone, are differentiated by torch; machines, by central differences in float64, which take two evaluations for
    each value of an image.

    Parameters
    ----------
    score : Score
        As `mosaic.score` gives it.
    times : sequence of float, optional
        Times of the schedule; by default 1/20, 2/20, ..., 1.
    images : int
        How many training images, the first ones.
    seed : int
        Of their noise.
    difference : float
        Length of the difference of x, over its noise, where torch cannot differentiate. For a function that computes in
        float32, 1e-2 is better.
    class_conditional : bool
        Whether the score is given the images' classes.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.

    Returns
    -------
    xarray.Dataset
        `field` (time, height, width), float64, about the centre (H // 2, W // 2); `field_width` (time), the side in
        pixels of the square about the centre that holds 95 % of the squared field, its centre left out: that is the
        largest value, however wide the field is, and squares make a faint floor count little.

    Raises
    ------
    UsageError
        If a time is not one of the schedule, classes are asked for and there are none, or the score is not finite.

    References
    ----------
    Kamb & Ganguli 2025, fig. 4a.

    Examples
    --------
    >>> import mosaic
    >>> els = mosaic.score("els", "digits", scales=3, dataset_options={"limit": 20})
    >>> mosaic.receptive_field(els, [0.5], images=1, progress=False).field_width.values.tolist()
    [3]
    """
    if images < 1 or not 0 < difference < 1:
        raise UsageError(f"`images` {images} must be at least 1, and `difference` {difference} between 0 and 1.")
    dataset = score.model.dataset
    chosen = torch.arange(min(images, len(dataset)), dtype=torch.int64, device="cpu")
    x0 = dataset.images[chosen.to(dataset.images.device)].float()
    labels = _labels(score, chosen) if class_conditional else None
    noise = initial_noise(seed, range(len(chosen)), dataset.shape).to(x0)
    moments = [float(t) for t in (uniform_times(STEPS)[::-1] if times is None else times)]
    if not moments:
        raise UsageError("`times` is empty; leave it out for 1/20, 2/20, ..., 1.")
    levels, fields, total = [score.level_at(t) for t in moments], [], len(moments) * len(x0)
    with reporting(progress) as report:
        report(0, total, "image", "starting")
        for number, (t, level) in enumerate(zip(moments, levels, strict=True)):
            x, done = level.signal * x0 + level.noise * noise, number * len(x0)
            piece = piece_of(prefixed(report, f"t = {t:.2f}"), done, len(x0), total, "image")
            field = _field(score, x, level, labels, difference, piece).cpu().numpy()
            if not np.isfinite(field).all():
                raise UsageError(f"{score!r} is not finite at t = {t:.3g}, so it has no receptive field there.")
            fields.append(field)
            report(done + len(x0), total, "image", f"t = {t:.2f}")
    variables = {
        "field": (("time", "height", "width"), np.stack(fields), {"long_name": "mean |d score(centre) / d x|"}),
        "field_width": ("time", [width_of(beside_the_centre(field) ** 2) for field in fields], {"units": "pixel"}),
    }
    at = {name: ("time", [getattr(level, name) for level in levels]) for name in ("signal", "noise")}
    places = {name: (PLACES[name].dims, list(each)) for name, each in pixel_places(*dataset.shape[1:]).items()}
    return xr.Dataset(variables, {"time": moments, **at, **places})


def _labels(score: Score, chosen: Tensor) -> Tensor:
    labels = score.model.dataset.labels
    if labels is None:
        raise UsageError(f"`class_conditional`: data set '{score.model.dataset.name}' has no classes; leave it out.")
    return labels[chosen.to(labels.device)]


def _field(
    score: Score, x: Tensor, level: Level, labels: Tensor | None, difference: float, progress: Progress
) -> Tensor:
    """Mean of |d score(centre) / d x| (H, W), float64."""
    by_torch = _slopes(score, x, level, labels)
    if by_torch is None:
        by_torch = _slopes_by_differences(score, x.double(), level, labels, difference, progress)
    return (_of_score(torch.stack(by_torch), level) / level.noise**2).abs().mean((0, 1, 2))


def _of_score(slopes: Tensor, level: Level) -> Tensor:
    """Derivatives of a x0hat(centre) - x(centre) by those of x0hat (C, B, C, H, W), the first axis its channels."""
    result = level.signal * slopes.double()
    for channel in range(len(result)):
        result[channel, :, channel, result.shape[3] // 2, result.shape[4] // 2] -= 1
    return result


def _slopes(score: Score, x: Tensor, level: Level, labels: Tensor | None) -> list[Tensor] | None:
    """d x0hat(centre) / d x (B, C, H, W), for each channel of x0hat; None if torch cannot differentiate it."""
    row, column = x.shape[2] // 2, x.shape[3] // 2
    with torch.enable_grad():
        given = x.clone().requires_grad_()
        denoised = score.denoise(given, level=level, labels=labels)
        if not denoised.requires_grad:
            return None
        centres = denoised[:, :, row, column].sum(0)
        return [torch.autograd.grad(centre, given, retain_graph=True)[0] for centre in centres]


@torch.no_grad()
def _slopes_by_differences(
    score: Score, x: Tensor, level: Level, labels: Tensor | None, difference: float, progress: Progress
) -> list[Tensor]:
    """The same by central differences, image by image."""
    of_images = []
    for number, image in enumerate(x):
        progress(number, len(x), "image", "by differences")
        own = None if labels is None else labels[number]
        of_images.append(_slopes_of(score, image, level, own, difference))
    wider = _slopes_of(score, x[0], level, None if labels is None else labels[0], 4 * difference)
    largest = _of_score(of_images[0][:, None], level).abs().max()
    apart = float(level.signal * (wider - of_images[0]).abs().max() / largest)
    if apart > UNRESOLVED:
        warn_of(
            [
                f"The receptive field of {score!r} at noise {level.noise:.3g} changes by {apart:.0%} if `difference` "
                f"is {4 * difference:g}, not {difference:g}; if the score computes in float32, 1e-2 is better."
            ]
        )
    return list(torch.stack(of_images, 1))


def _slopes_of(score: Score, image: Tensor, level: Level, label: Tensor | None, difference: float) -> Tensor:
    """d x0hat(centre) / d x (C, C, H, W) of one image, by the channels of both."""
    shape, length = image.shape, difference * level.noise
    units = torch.eye(shape.numel(), dtype=torch.float64, device=image.device).unflatten(1, shape)
    slopes = []
    for directions in units.split(TOGETHER // 2):
        moved = torch.cat([image + length * directions, image - length * directions])
        labels = None if label is None else label.expand(len(moved))
        denoised = score.denoise(moved, level=level, labels=labels)
        ahead, behind = denoised[:, :, shape[1] // 2, shape[2] // 2].chunk(2)
        slopes.append((ahead - behind) / (2 * length))
    result: Tensor = torch.cat(slopes).mT.unflatten(1, shape)
    return result


def width_of(field: NDArray[np.float64], share: float = SHARE) -> int:
    """Side of the smallest square about the centre (H // 2, W // 2) that holds this share of a field (H, W)."""
    height, width = field.shape
    rows, cols = np.abs(np.arange(height) - height // 2), np.abs(np.arange(width) - width // 2)
    ring = np.maximum(rows[:, None], cols[None, :])
    held = np.cumsum(np.bincount(ring.ravel(), field.ravel()))
    return 2 * int(np.searchsorted(held, share * held[-1] * (1 - 1e-12))) + 1


def beside_the_centre(field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Copy a field (H, W) with its centre set to 0."""
    rest = field.copy()
    rest[field.shape[0] // 2, field.shape[1] // 2] = 0
    return rest
