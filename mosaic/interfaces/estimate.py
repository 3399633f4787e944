"""Estimate: a posterior mean from part of the candidates, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Estimate"]


@dataclass(frozen=True)
class Estimate:
    """x0hat that is not exact where sums over candidates were stopped early.

    Attributes
    ----------
    denoised : Tensor (B, C, H, W)
        x0hat, as `ScoreModel.denoise` gives it.
    compared : Tensor (B,), float64
        Share of all comparisons that were made, in (0, 1].
    stopped : Tensor (B, H, W), bool
        Pixels that were stopped before all candidates were compared; the others are exact.
    error : Tensor (B, H, W), float64
        Estimated standard error of each of these pixels, of the channel where it is largest, in the units of x0hat; 0
        at the others.
    """

    denoised: Tensor
    compared: Tensor
    stopped: Tensor
    error: Tensor
