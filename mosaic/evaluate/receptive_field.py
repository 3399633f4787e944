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
from mosaic.errors import UsageError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.sampler import uniform_times
from mosaic.interfaces.schedule import Level
from mosaic.progress import Progress, piece_of, prefixed, reporting
from mosaic.run.derivative import DIFFERENCE, check_difference, differentiate
from mosaic.run.score import Score
from mosaic.sampling.noise import initial_noise
from mosaic.storage.indexes import pixel_places
from mosaic.storage.schema import PLACES

__all__ = ["SHARE", "beside_the_centre", "centres_of", "classes_of", "field_of", "receptive_field", "width_of"]

SHARE = 0.95
STEPS = 20  # of the default times


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

    The mean is over noisy training images, and over channels of both. The derivatives are those of `Score.jacobian`:
    closed forms of machines that have them; by torch of networks, and of whatever computes with torch alone; else
    central differences in float64, which take two evaluations for each value of an image.

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
        Length of the difference of x, over its noise, where there is no closed form and torch cannot differentiate. For
        a function that computes in float32, 1e-2 is better.
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
    if images < 1:
        raise UsageError(f"`images` is {images}; it must be at least 1.")
    check_difference(difference)
    dataset = score.model.dataset
    chosen = torch.arange(min(images, len(dataset)), dtype=torch.int64, device="cpu")
    x0 = dataset.images[chosen.to(dataset.images.device)].float()
    labels = classes_of(dataset, chosen) if class_conditional else None
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
            slopes, _ = differentiate(
                score.model, x, level, labels, score.scale_at(level), centres_of(dataset.shape), difference, piece
            )
            field = field_of(slopes, level).cpu().numpy()
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


def classes_of(dataset: DataSet, chosen: Tensor) -> Tensor:
    """Classes of chosen images.

    Raises
    ------
    UsageError
        If the data set has none.
    """
    if dataset.labels is None:
        raise UsageError(f"`class_conditional`: data set '{dataset.name}' has no classes; leave it out.")
    return dataset.labels[chosen.to(dataset.labels.device)]


def centres_of(shape: Sequence[int]) -> list[int]:
    """Places of the central pixel (H // 2, W // 2) in a flat image (C, H, W), one for each channel."""
    channels, height, width = shape
    return [(channel * height + height // 2) * width + width // 2 for channel in range(channels)]


def field_of(slopes: Tensor, level: Level) -> Tensor:
    """Mean of |d score(centre) / d x| (H, W), by d x0hat(centre) / d x (B, C, C, H, W), float64."""
    centres, of_score = centres_of(slopes.shape[2:]), level.signal * slopes.flatten(2)
    of_score[:, range(len(centres)), centres] -= 1
    return (of_score.view(slopes.shape) / level.noise**2).abs().mean((0, 1, 2))


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
