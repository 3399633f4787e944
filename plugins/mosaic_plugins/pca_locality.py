"""Locality found in the data: per-pixel masks from the Wiener filter.

References: Lukoianov, Yuan, Solomon & Sitzmann 2025 (Locality in image diffusion models emerges from data statistics).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.by_class import ByClass
from mosaic_plugins.gaussian import Moments

__all__ = ["PCALocality"]

BLOCK = 2**22  # squared differences held at a time


@dataclass(frozen=True)
class Fit:
    """Flat images (N, D), and their moments."""

    images: Tensor
    moments: Moments


class PCALocality(ByClass):
    """Each pixel's posterior over whole images, compared at the pixels that the Wiener filter says matter to it.

    The mask of an output pixel: entries of its row of the Wiener filter U diag(l / (l + s^2 / a^2)) U^T of at least
    `threshold` times the largest of them, in absolute value. The softmax runs exactly over all images (the published
    code averages the softmaxes of batches). Computed in float64.

    References: Lukoianov et al. 2025 (arXiv 2509.09672), sec. 4.
    """

    name = "pca-locality"

    class Options(mosaic.Options):
        """The method's one parameter: the higher, the smaller the masks; at 0 whole images are compared, as by `is`."""

        threshold: float = Field(
            0.005,
            ge=0,
            lt=1,
            description="Share of the largest entry above which a pixel matters (the paper's: MNIST and FashionMNIST "
            ".005, CIFAR10 .05, CelebA .02).",
        )

    options: Options

    def fit(self, images: Tensor, labels: Tensor | None) -> Fit:
        """Images flat (N, D), and their moments, which the masks are made of; labels are ignored."""
        return Fit(images.flatten(1), Moments.of(images))

    def kept_bytes(self, batch: int, labels: tuple[int, ...]) -> int:
        """Count moments and images of each class, masks, and a block of images with its logits and weights."""
        pixels, counts = prod(self.dataset.shape), self.group_sizes(labels)
        kept = sum(Moments.kept_bytes(count, pixels) for count in counts)
        kept += 8 * pixels * sum(count for label, count in zip(labels, counts, strict=True) if label >= 0)  # copies
        block = 8 * 4 * max(BLOCK, pixels) + 8 * 5 * pixels**2
        return kept + max(block, Moments.peak_bytes(max(counts), pixels)) + 8 * 4 * batch * pixels

    def apply(self, fitted: Fit, x: Tensor, level: mosaic.Level) -> Tensor:
        """Give x0hat (B, D), one sample after the other."""
        mask = self.mask(fitted.moments, level)
        return torch.stack([_masked_mean(flat, fitted.images, mask, level) for flat in x])

    def mask(self, moments: Moments, level: mosaic.Level) -> Tensor:
        """Mark the pixels (columns) that matter to each output pixel (rows): (D, D), float64, 0 or 1."""
        gain = moments.values / (moments.values + level.ratio**2)
        wiener = ((moments.vectors * gain) @ moments.vectors.T).abs()
        return (wiener >= self.options.threshold * wiener.amax(1, keepdim=True)).double()


def _masked_mean(x: Tensor, images: Tensor, mask: Tensor, level: mosaic.Level) -> Tensor:
    """x0hat (D,) of one flat image, streamed over the training images (N, D)."""
    maximum = torch.full_like(x, -torch.inf)
    total, weighted = torch.zeros_like(x), torch.zeros_like(x)
    parts = images.split(max(1, BLOCK // len(x)))
    # The same memory for all blocks: allocated anew for each, such large tensors would not all be returned.
    work = x.new_empty(3, len(parts[0]), len(x))
    for part in parts:
        block, squares, logits = work[:, : len(part)]
        torch.mul(block.copy_(part), level.signal, out=squares)
        torch.sub(x, squares, out=squares).square_()
        torch.matmul(squares, mask.T, out=logits).div_(-2 * level.noise**2)  # (n, D): of each output pixel
        higher = torch.maximum(maximum, logits.amax(0))
        factor, weights = torch.exp(maximum - higher), logits.sub_(higher).exp_()
        total = total * factor + weights.sum(0)
        weighted = weighted * factor + weights.mul_(block).sum(0)
        maximum = higher
    return weighted / total


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(PCALocality)
