"""The posterior over candidates: partial softmax-weighted means that merge exactly.

Every analytic machine is one computation (Kamb & Ganguli 2025, eqs. 3-10): for each output pixel p a
softmax-weighted mean over candidate windows,

    logit(c) = -|| x[window(p)] - a c[window] ||^2 / (2 s^2),    x0hat(p) = sum_c softmax(logit)_c centre(c).

A `Posterior` holds this sum over part of the candidates, with a maximum of its own for each sample and
pixel, so that tiles and shards of a training set merge into the softmax over all of it without underflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, log2

import torch
from torch import Tensor

from mosaic.schedule import Level

__all__ = [
    "BITS",
    "TILE_ELEMENTS",
    "Arithmetic",
    "Posterior",
    "accumulator_dtype",
    "after_ones",
    "attend",
    "choose_arithmetic",
    "weights_of",
]

BITS = log2(e)  # logits are kept in bits, see Posterior

# Logits held at one time: what fits the caches decides, never the free memory, so that results repeat.
TILE_ELEMENTS = 2**20


@dataclass
class Posterior:
    """Softmax over part of the candidates, for every sample and pixel.

    Attributes
    ----------
    maximum : Tensor (B, h, w)
        Largest logit, in bits; (h, w) is (H, W), or (1, 1) where all pixels share one posterior.
    total : Tensor (B, h, w)
        Sum of 2^(logit - maximum).
    weighted : Tensor (B, C, H, W)
        Sum of 2^(logit - maximum) times the candidate's centre pixel.

    Logits are in bits, that is, times log2(e): powers of two are computed several times faster than powers
    of e. They are known up to a constant of each sample and pixel, the same for all candidates.
    """

    maximum: Tensor
    total: Tensor
    weighted: Tensor

    def merge(self, other: Posterior) -> Posterior:
        """Join two disjoint parts of the candidates; associative and commutative up to rounding."""
        maximum = torch.maximum(self.maximum, other.maximum)
        mine, theirs = torch.exp2(self.maximum - maximum), torch.exp2(other.maximum - maximum)
        return Posterior(
            maximum,
            self.total * mine + other.total * theirs,
            self.weighted * mine[:, None] + other.weighted * theirs[:, None],
        )

    def mean(self) -> Tensor:
        """Posterior mean x0hat (B, C, H, W) over the candidates seen."""
        return self.weighted / self.total[:, None]


def attend(logits: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reduce logits (Q, M) in bits and the candidates' values (M, 1 + V), the first column ones.

    The total is the weighted sum of the ones, in one product with the others: rounded alike, a mean never
    leaves the range of its values. Weights are computed in the precision of `values`; `logits` is overwritten.

    Returns
    -------
    maximum (Q,), total (Q,), weighted (Q, V)
        As in `Posterior`, in the accumulator's precision: sums of many tiles must not lose digits.
    """
    maximum = logits.amax(dim=1)
    sums = weights_of(logits, maximum[:, None], values.dtype) @ values
    wide = accumulator_dtype(logits.device)
    return maximum.to(wide), sums[:, 0].to(wide), sums[:, 1:].to(wide)


def after_ones(values: Tensor) -> Tensor:
    """Put a column of ones before values (M, V), for `attend`; column by column, which products like better."""
    return torch.cat([values.new_ones(1, len(values)), values.T]).T


def weights_of(logits: Tensor, maximum: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights 2^(logits - maximum), in `dtype`; `logits` is overwritten."""
    return logits.sub_(maximum).to(dtype).exp2_()


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """float64 wherever the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


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
LOGIT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}


def choose_arithmetic(x: Tensor, level: Level, pixels: int, largest: float) -> Arithmetic:
    """Choose the cheapest way to evaluate logits whose rounding error stays within tolerance.

    The product a x.c / s^2 sums `pixels` terms of size a |x| |c| / s^2, each rounded to one part in 1 / u,
    u the unit roundoff: at small s this exceeds the logit differences that matter, and float32 would choose
    wrong neighbours. Then float64 is used, and where even that is not enough (float64 results at small s)
    or not to be had, squared differences, whose terms are themselves small where they matter: there one
    rounding of a c moves a logit by u a sum_j |x_j - a c_j| |c_j| / s^2, as rounding the input would.

    Parameters
    ----------
    x : Tensor (B, C, H, W)
        Noisy images; their dtype is that of the results.
    pixels : int
        Values in a window, C k^2.
    largest : float
        Largest magnitude of a training pixel.
    """
    magnitude = float(x.double().square().mean().sqrt()) if x.device.type != "mps" else float(x.square().mean().sqrt())
    terms = pixels * level.signal * largest * (magnitude + level.signal * largest) / level.noise**2
    for dtype in (torch.float32, torch.float64):
        if dtype == torch.float64 and x.device.type == "mps":
            break
        if terms * torch.finfo(dtype).eps / 2 <= LOGIT_TOLERANCE[x.dtype]:
            return Arithmetic(dtype, expanded=True)
    return Arithmetic(accumulator_dtype(x.device) if x.dtype == torch.float64 else x.dtype, expanded=False)
