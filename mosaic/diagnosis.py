"""What a posterior mean is made of: for each pixel its best candidate, and how many candidates matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic.posterior import Posterior
from mosaic.ties import Source

__all__ = ["Diagnosis", "everywhere"]


@dataclass(frozen=True)
class Diagnosis:
    """What each pixel of x0hat is made of.

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


def everywhere(posterior: Posterior, source: Source) -> tuple[Source, Tensor, Tensor]:
    """Give source, weight and entropy at each pixel (B, H, W), also where all pixels share one posterior.

    A shared posterior's source says which training pixel came to the image's first pixel; the others follow it round.
    """
    batch, _, height, width = posterior.weighted.shape
    shape = (batch, height, width)
    row, column = source.row, source.column
    if posterior.maximum.shape != shape:
        row = (row + torch.arange(height, device=row.device)[:, None]) % height
        column = (column + torch.arange(width, device=row.device)) % width
    whole = (source.image, row, column, source.multiplicity, 1 / posterior.total, posterior.entropy())
    image, row, column, multiplicity, weight, entropy = (tensor.expand(shape) for tensor in whole)
    return Source(image, row, column, multiplicity), weight.double(), entropy.double()
