"""Attribution: what each pixel of an image is made of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Attribution", "Source"]


@dataclass(frozen=True)
class Source:
    """Where in a training set pixels come from.

    Attributes
    ----------
    image, row, column : Tensor (B, H, W), int64
        The training pixel.
    multiplicity : Tensor (B, H, W), int64
        How many candidates are equal to this one, itself included; the pixel is that of the first, in the order of
        image, row, column. 0 where equal candidates are not counted.
    """

    image: Tensor
    row: Tensor
    column: Tensor
    multiplicity: Tensor


@dataclass(frozen=True)
class Attribution:
    """What each pixel of a posterior mean is made of.

    Attributes
    ----------
    denoised : Tensor (B, C, H, W)
        x0hat, as `ScoreModel.denoise` gives it, of x's dtype.
    source : Source (B, H, W)
        The most probable candidate's pixel in the training set of the model (also for a sample with a label).
    weight : Tensor (B, H, W), float64
        Posterior probability of that candidate alone, in (0, 1]; its equals have as much each.
    entropy : Tensor (B, H, W), float64
        Entropy of the posterior, in nats; exp of it is the effective number of candidates.
    """

    denoised: Tensor
    source: Source
    weight: Tensor
    entropy: Tensor
