"""The precision in which logits are evaluated: the cheapest whose rounding cannot matter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype
from mosaic.interfaces.images import Images, extremes_of
from mosaic.interfaces.schedule import Level

__all__ = ["Arithmetic", "choose_arithmetic", "largest_magnitude"]


@dataclass(frozen=True)
class Arithmetic:
    """How squared distances are evaluated.

    Attributes
    ----------
    dtype : torch.dtype
        Precision of the logits.
    expanded : bool
        True: as the product a x.c - a^2 |c|^2 / 2, one matrix product for many windows (the common
        -|x|^2 / 2 cancels in the softmax). False: as a sum of squared differences, slower but free of
        cancellation at any noise level.
    """

    dtype: torch.dtype
    expanded: bool


# Largest error of a logit that rounding may cause, for results in this precision. Logits that each move by
# eta at most move a mean of values in [-1, 1] by 2 tanh(eta / 2) < eta at most.
LOGIT_TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-12}


def choose_arithmetic(x: Tensor, level: Level, pixels: float, largest: float) -> Arithmetic:
    """Choose the cheapest way to evaluate logits whose rounding error stays within tolerance.

    The product a x.c / s^2 sums `pixels` terms of size a |x| |c| / s^2, each with a rounding error of u times its size,
    u the unit roundoff. At small s this exceeds the logit differences that matter, and float32 would choose wrong
    neighbours. Then float64 products are used. Where even these are not exact enough (float64 results at small s), or
    float64 is not available, squared differences are used: their terms are small where they matter. There, one
    rounding of a c moves a logit by u a sum_j |x_j - a c_j| |c_j| / s^2, no more than rounding the input does.

    Parameters
    ----------
    x : Tensor (B, C, H, W)
        Noisy images; their dtype is that of the results.
    pixels : float
        Values in a window, C k^2; of a soft one, the sum of their weights.
    largest : float
        Largest magnitude of a training pixel.
    """
    magnitude = float(x.double().square().mean().sqrt()) if x.device.type != "mps" else float(x.square().mean().sqrt())
    terms = pixels * level.signal * largest * (magnitude + level.signal * largest) / level.noise**2
    terms *= max(1.0, math.sqrt(pixels) / 8)  # errors of long sums add up like a random walk
    for dtype in (torch.float32, torch.float64):
        if dtype == torch.float64 and x.device.type == "mps":
            break
        if terms * torch.finfo(dtype).eps / 2 <= LOGIT_TOLERANCE[x.dtype]:
            return Arithmetic(dtype, expanded=True)
    return Arithmetic(accumulator_dtype(x.device) if x.dtype == torch.float64 else x.dtype, expanded=False)


def largest_magnitude(images: Images) -> float:
    """Largest absolute value in `images`, of any shape: what rounding errors of logits grow with."""
    return max(map(abs, extremes_of(images)))
