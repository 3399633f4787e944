"""Adaptive summation: a posterior mean over as many training images as a tolerance needs, pixel by pixel.

The training images come in a seeded random order, in stages. After n of N images a pixel's x0hat is the ratio R of two
sums over images, of V_i (weighted centres) and of W_i (weights), over the image's own candidates. Candidates of one
image are alike, so the image is the unit that is sampled. The standard error of the ratio (Cochran 1977, eq. 6.13) is

    e^2 = (1 - n / N) n / (n - 1) sum_i (V_i - R W_i)^2 / (sum_i W_i)^2.

A pixel is stopped once ERRORS e is below the tolerance in all its channels, and its effective number of images,
(sum_i W_i)^2 / sum_i W_i^2 (Kish 1965), is at least EFFECTIVE. Without the second condition, a few good matches among
many poor ones make e look small before the next good one is met. The windows of all other pixels are compared with all
candidates, and are exact.

This is no bound. Nothing in a sample tells of one image whose windows are nearer than all those seen. The README says
how often pixels are beyond the tolerance on real images.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype, standard_torch
from mosaic.engine.compute import DEFAULT, Compute
from mosaic.engine.local import from_everywhere, window_problem
from mosaic.engine.posterior import Posterior
from mosaic.engine.window_problem import WindowProblem
from mosaic.engine.windows import Profile, WindowAxis
from mosaic.errors import UsageError
from mosaic.interfaces.estimate import Estimate
from mosaic.interfaces.images import Images, select_images
from mosaic.interfaces.schedule import Level

__all__ = [
    "EFFECTIVE",
    "ERRORS",
    "adaptive_mean",
    "equivariant_local_estimate",
    "random_order",
    "ratio_error",
    "stages",
]

ERRORS = 3.0
"""Standard errors that must fit into the tolerance."""

EFFECTIVE = 100.0
"""Effective number of images that a stopped pixel has at least."""

# The first stage: this share of the images, and at least so many; each later stage ends at GROWTH times as many.
FIRST_SHARE, FIRST_IMAGES, GROWTH = 1 / 32, 128, 1.25

LANES = 16  # stages end at a multiple of it, so that the compiled kernel has no idle lane


def stages(images: int) -> list[int]:
    """Give the numbers of images after which pixels are looked at; the last is that of all."""
    ends, end = [], max(FIRST_IMAGES, images * FIRST_SHARE)
    while end < images / GROWTH:
        ends.append(-(-int(end) // LANES) * LANES)
        end = max(end * GROWTH, end + LANES)
    return [*ends, images]


def random_order(images: int, level: Level, seed: int) -> Tensor:
    """Give a random order (images,) of training images, on the CPU: a function of these arguments on every machine.

    It differs from level to level, so that errors of successive steps do not add up.
    """
    # In float32, as mathematical libraries differ in the last bits.
    packed = struct.pack("<Qf", seed, min(level.ratio, torch.finfo(torch.float32).max))
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(sha256(packed).digest()[:8], "little"))
    return torch.randperm(images, generator=generator, dtype=torch.int64, device="cpu")


@standard_torch()
@torch.no_grad()
def equivariant_local_estimate(
    x: Tensor,
    images: Images,
    level: Level,
    k: int,
    boundary: str = "zeros",
    *,
    tolerance: float,
    order: int = 0,
    profile: Profile | None = None,
    border: int | None = None,
    compute: Compute = DEFAULT,
) -> Estimate:
    """Equivariant local score from a random part of the training images, as large as each pixel needs.

    How pixels are found to need no more images, `mosaic.engine.adaptive` says. A pixel whose windows were compared with
    all candidates has the x0hat of `equivariant_local_posterior`, up to rounding.

    Parameters
    ----------
    x, images, level, k, boundary, profile, border, compute
        As for `equivariant_local_posterior`; no diagnostics, no moments, all shards.
    tolerance : float
        How far a pixel of x0hat may be, about, from that of all candidates; above 0, in the units of the images.
    order : int
        Seed of the random order of the training images, which is another one at each level.

    Returns
    -------
    Estimate
        What is estimated for a sample does not depend on the other samples of `x`.

    Raises
    ------
    UsageError
        As `equivariant_local_posterior`, or if the tolerance is not a positive number, or of `compute` parts.
    """
    if not 0 < tolerance < math.inf:
        raise UsageError(
            f"`tolerance` is {tolerance}; it must be a positive number, or the exact posterior be asked for."
        )
    if compute.diagnostics or compute.shards is not None:
        raise UsageError("An estimate has no diagnostics and no shards; ask for the exact posterior.")
    how: dict[str, Any] = {"weights": None, "values": None, "profile": profile, "border": border, "aligned": False}
    compute = replace(compute, moments=True)
    places = random_order(len(images), level, order)
    estimates = [  # each sample alone: precision and blocks depend on what is in the batch
        adaptive_mean(
            window_problem(sample, images, level, k, boundary, compute=compute, **how),
            lambda problem: from_everywhere(problem, k, boundary),
            tolerance,
            places,
        )
        for sample in x.split(1)
    ]
    parts = [(each.denoised, each.compared, each.stopped, each.error) for each in estimates]
    return Estimate(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def adaptive_mean(
    problem: WindowProblem, compare: Callable[[WindowProblem], Posterior], tolerance: float, order: Tensor
) -> Estimate:
    """Estimate x0hat of one sample.

    Parameters
    ----------
    problem : WindowProblem
        Of one sample (1, C, H, W), with moments.
    compare : callable
        Gives the posterior of a problem that has some of the images, and only some of the pixels.
    tolerance : float
        What ERRORS standard errors of a stopped pixel must be below.
    order : Tensor (N,), int64
        Order of the images.
    """
    images = len(problem.images)
    candidates = _candidates(problem.rows)[:, None] * _candidates(problem.cols)
    going = torch.ones_like(problem.x[:, 0], dtype=torch.bool)
    error = torch.zeros_like(problem.x[:, 0], dtype=accumulator_dtype(problem.x.device))
    whole, made = None, 0.0
    for first, last in pairwise([0, *stages(images)]):
        chosen = order[first:last].sort().values.to(problem.x.device)  # images in a file are read in order
        among = select_images(problem.images, chosen)
        part = compare(replace(problem, images=among, values=among, only=going)).only_at(going)
        whole = part if whole is None else whole.merge(part)
        made += float((going.cpu() * candidates).sum()) * (last - first)
        if last < images:
            each, effective = ratio_error(whole, last, images)
            stops = going & (ERRORS * each < tolerance) & (effective >= EFFECTIVE)
            error = torch.where(stops, each, error)
            going = going & ~stops
            if not bool(going.any()):
                break
    assert whole is not None
    share = torch.tensor([made / (float(candidates.sum()) * images)], dtype=torch.float64, device="cpu")
    return Estimate(whole.mean(), share, ~going.cpu(), error.cpu().double())


def ratio_error(posterior: Posterior, seen: int, images: int) -> tuple[Tensor, Tensor]:
    """Standard error of the mean after `seen` of the images, largest over channels, and effective number of images.

    Returns
    -------
    error, effective : Tensor (B, H, W)
    """
    assert posterior.squares is not None
    mean, channels = posterior.mean(), posterior.weighted.shape[1]
    weights, products, values = posterior.squares.split([1, channels, channels], 1)
    spread = (values - 2 * mean * products + mean.square() * weights).clamp_min(0)
    factor = (1 - seen / images) * seen / max(1, seen - 1)
    error = (spread.amax(1) * factor).sqrt() / posterior.total
    return error, posterior.total.square() / weights[:, 0]


def _candidates(axis: WindowAxis) -> Tensor:
    """Count the candidates that each pixel of an axis meets in an image: (size,), float64."""
    counts = {pixel: len(band.candidates) for band in axis.bands for pixel in band.pixels}
    return torch.tensor([counts[pixel] for pixel in sorted(counts)], dtype=torch.float64, device="cpu")
