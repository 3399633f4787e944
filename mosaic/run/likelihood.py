"""Log-likelihood of images by the probability flow of a score."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.errors import UsageError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.schedule import Level
from mosaic.progress import Progress, reporting
from mosaic.run.score import Batch, Labels, Score, as_tensor
from mosaic.run.work import step_work, unit_of

__all__ = ["log_likelihood"]

DIFFERENCE = 1e-4  # of y, in units of sigma

TOGETHER = 64  # images evaluated at a time for a trace


@checked()
@standard_torch()
def log_likelihood(
    score: Score,
    x: Batch,
    t: float = 0.05,
    *,
    steps: int = 100,
    probes: int | None = 1,
    seed: int = 0,
    labels: Labels | None = None,
    difference: float = DIFFERENCE,
    progress: Progress | bool | None = True,
) -> Tensor:
    """Give the log-likelihood of images at a time t, by the probability flow that leads to noise at t = 1.

    With y = x / a and sigma = s / a, along dy / dsigma = (y - x0hat) / sigma the log-density of y changes by minus the
    divergence, -(n - tr dx0hat/dy) / sigma. At t = 1 it is that of the noise that runs start from, N(0, s^2). So this
    is the density of the images that the deterministic samplers make, in the limit of many steps. The flow is
    integrated by Heun's method, the density by the trapezoidal rule in log sigma, at steps uniform in t.

    Parameters
    ----------
    score : Score
        As `mosaic.score` gives it.
    x : Tensor or ndarray (B, C, H, W)
        Images x_t; clean images where t is small.
    t : float
        Their time, 0 < t < 1. At t = 0 the density of finitely many training images does not exist.
    steps : int
        Steps of the integration; its error falls with their square.
    probes : int or None
        Random vectors (of signs) by which the trace is estimated, without bias. None for all unit vectors: the trace
        itself, at twice as many evaluations as an image has values.
    seed : int
        Of these vectors.
    labels : sequence of int, optional
        Class of each image, -1 for none.
    difference : float
        Length of the difference of y, over sigma, by which derivatives are taken, in float64. For a network that
        computes in float32, 1e-2 is better.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.

    Returns
    -------
    Tensor (B,), float64
        In nats. Divided by n log 2 and negated: bits per value, apart from the scale of the data.

    Raises
    ------
    UsageError
        With one sentence that names the value, what is allowed and the fix.

    References
    ----------
    Song et al. 2021, app. D.2 (eq. 39 and 40); Hutchinson 1990; Karras et al. 2022, eq. 1, for the flow in sigma.

    Examples
    --------
    >>> import mosaic
    >>> gaussian = mosaic.score("gaussian", "digits")
    >>> images = gaussian.model.dataset.images[:2]
    >>> values = mosaic.log_likelihood(gaussian, images, t=0.1, steps=20, progress=False)
    >>> bool((values > mosaic.log_likelihood(gaussian, -images, t=0.1, steps=20, progress=False)).all())
    True
    """
    if not 0 < t < 1:
        raise UsageError(f"`t` is {t}; it must lie between 0 (data) and 1 (noise).")
    if steps < 1 or (probes is not None and probes < 1) or not 0 < difference < 1:
        raise UsageError(f"`steps` {steps}, `probes` {probes} and `difference` {difference} must be positive numbers.")
    images = as_tensor(x)
    score.model.dataset.check_batch(images)
    levels = [score.schedule.level(t + (1 - t) * i / steps) for i in range(steps + 1)]
    y, size = images.double() / levels[0].signal, images[0].numel()
    vectors, weight = _vectors(images, probes, seed)
    given = None if labels is None else as_tensor(labels)

    def slope(y: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """Slope of y by sigma; and sigma times its divergence (B,), which is the divergence by log sigma."""

        def x0hat(y: Tensor) -> Tensor:
            copies = None if given is None else given.repeat(len(y) // len(given))
            return score.denoise(y * level.signal, level=level, labels=copies)

        trace = weight * _trace(x0hat, y, vectors, difference * level.ratio)
        return (y - x0hat(y)) / level.ratio, size - trace

    scales, shown = [score.scale_at(level) for level in levels], [-1] * len(images) if given is None else given.tolist()
    work = [sum(pair) for pair in pairwise(step_work(score.model, scales, shown))]
    change = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    unit = unit_of(score.model, scales)
    with reporting(progress) as report:
        report(0.0, sum(work), unit, f"step 1/{steps}")
        for index, (level, following) in enumerate(pairwise(levels)):
            h = following.ratio - level.ratio
            first, spread = slope(y, level)
            second, spread_there = slope(y + h * first, following)
            y = y + h / 2 * (first + second)
            change = change + math.log(following.ratio / level.ratio) / 2 * (spread + spread_there)
            report(sum(work[: index + 1]), sum(work), unit, f"step {index + 1}/{steps}")
    last = levels[-1]
    noise = y * last.signal / last.noise
    prior = -0.5 * (noise.flatten(1) ** 2).sum(1) - size * (math.log(last.noise) + 0.5 * math.log(2 * math.pi))
    # Densities of y are those of x times signal^n.
    return prior + size * (math.log(last.signal) - math.log(levels[0].signal)) + change


def _vectors(images: Tensor, probes: int | None, seed: int) -> tuple[Tensor, float]:
    """Vectors v (P, C, H, W) by which a trace is the sum of v.J v times a weight: random signs, or all unit vectors."""
    shape, size = images.shape[1:], images[0].numel()
    if probes is None:
        return torch.eye(size, dtype=torch.float64, device=images.device).reshape(size, *shape), 1.0
    generator = torch.Generator(device="cpu").manual_seed(seed)
    signs = torch.randint(0, 2, (probes, *shape), generator=generator, dtype=torch.int64, device="cpu")
    return (2.0 * signs.double() - 1).to(images.device), 1 / probes


def _trace(function: Callable[[Tensor], Tensor], y: Tensor, vectors: Tensor, length: float) -> Tensor:
    """Sum (B,) over vectors v of v.J v, with J the derivative of a function at y, by central differences."""
    total = torch.zeros(len(y), dtype=torch.float64, device=y.device)
    for some in vectors.split(max(1, TOGETHER // (2 * len(y)))):
        moved = torch.stack([y + length * some[:, None], y - length * some[:, None]])  # (2, P, B, C, H, W)
        ahead, behind = function(moved.flatten(0, 2)).unflatten(0, moved.shape[:3])
        total += ((ahead - behind) * some[:, None]).flatten(2).sum((0, 2)) / (2 * length)
    return total
