"""Locality found in the data: per-pixel masks from the Wiener filter.

References: Lukoianov, Yuan, Solomon & Sitzmann 2025 (Locality in image diffusion models emerges from data statistics).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.by_class import ByClass
from mosaic_plugins.gaussian import Moments
from mosaic_plugins.references import LUKOIANOV

__all__ = ["PCALocality", "mask_of"]

SMALL = 1e-6  # diagonal entries of the Wiener filter below this do not divide their row


@dataclass(frozen=True)
class Fit:
    """Images (N, C, H, W), and their moments with the covariance's divisor N - 1."""

    images: mosaic.Images
    moments: Moments


class PCALocality(ByClass):
    """Each pixel's posterior over whole images, compared at the pixels that the Wiener filter says matter to it.

    The Wiener filter is W = U diag(a^2 l / (s^2 + a^2 l)) U^T, of the eigenvectors U and eigenvalues l of the images'
    covariance. M[n, m] = W[n, m] / W[n, n]. Output pixel m compares the input pixels n, of all channels, at which
    |M[n, m]| is at least `threshold` times the largest entry of all of |M|. Computed in float64.

    References: Lukoianov et al. 2025 (arXiv 2509.09672), sec. 4.

    The paper's: the masks, and the softmax over all images compared through them.
    The published code's: the covariance is divided by N - 1, and rows of W with |W[n, n]| < 1e-6 are not divided, as
    here. It averages the softmax means of batches of 512 images, each with the same weight: `average=batches`. Its
    mask sizes are these, and its x0hat agrees to 1e-5 (tests/plugins/test_pca_locality.py). At the lowest noise that
    was compared (s / a = .08), one mask in 28 differs by a pixel. This is consistent with rounding in float32, of which
    those numbers are: the pixels' entries are within 4e-5 of the threshold, in units of the largest. But no form of
    the computation in float32 that we tried reproduces these masks.
    Ours: exact sums over all images as the default; the masks of a class for a sample with a label.
    """

    name = "pca-locality"
    references: ClassVar[tuple[str, ...]] = (LUKOIANOV,)

    class Options(mosaic.Options):
        """How small the masks are, and how the posterior is summed."""

        threshold: float = Field(
            0.005,
            ge=0,
            lt=1,
            description="Share of the largest entry from which on a pixel matters. Published: .005 for MNIST and "
            "FashionMNIST, .05 for CIFAR10, .02 for CelebA-HQ. At 0 whole images are compared, as by `is`.",
        )
        average: Literal["exact", "batches"] = Field(
            "exact",
            description="exact: one softmax over all images; batches: the mean of the softmax means of consecutive "
            "batches, as the published code has it.",
        )
        batch: int = Field(512, ge=1, le=1_000_000, description="Images of a batch, with `average=batches`.")

        def unused(self) -> Mapping[str, str]:
            """The size of batches, where there are none."""
            return {"batch": "average=exact"} if self.average == "exact" else {}

    options: Options

    def fit(self, images: mosaic.Images, labels: Tensor | None) -> Fit:
        """Keep the images, and their moments, which the masks are made of; labels are ignored."""
        return Fit(images, Moments.of(images, ddof=1))

    def kept_bytes(self, batch: int, labels: tuple[int, ...]) -> int:
        """Count moments and images of each class, and masks."""
        pixels, counts = prod(self.dataset.shape), self.group_sizes(labels)
        kept = sum(Moments.kept_bytes(count, pixels) for count in counts)
        if isinstance(self.dataset.images, Tensor):  # of which each class is a copy
            kept += 8 * pixels * sum(count for label, count in zip(labels, counts, strict=True) if label >= 0)
        masks = 8 * 6 * pixels**2
        return kept + max(masks, Moments.peak_bytes(max(counts), pixels)) + 8 * 4 * batch * pixels

    def block_bytes(self) -> int:
        """Count a block of images with its logits and weights."""
        block = mosaic.Compute().block_on(self.dataset.images.device)
        return mosaic.filtered_workspace_bytes(block, prod(self.dataset.shape), prod(self.dataset.shape))

    def apply(self, fitted: Fit, x: Tensor, level: mosaic.Level) -> Tensor:
        """Give x0hat (B, D)."""
        batch = self.options.batch if self.options.average == "batches" else None
        samples = x.view(-1, *self.dataset.shape)
        filters = self.filters(fitted.moments, level)
        return mosaic.filtered_posterior_mean(samples, fitted.images, level, filters, batch=batch).flatten(1)

    def filters(self, moments: Moments, level: mosaic.Level) -> mosaic.Filters:
        """Make the filter of each output pixel at a level."""
        return mosaic.Filters.masks(mask_of(moments.wiener(level), self.options.threshold).T)


def mask_of(wiener: Tensor, threshold: float) -> Tensor:
    """Mark the input pixels n that matter to each output pixel m: (n, m), float64, 0 or 1; W is (D, D)."""
    diagonal = wiener.diagonal()
    ratios = (wiener / torch.where(diagonal.abs() < SMALL, 1.0, diagonal)[:, None]).abs_()
    return (ratios >= threshold * ratios.amax()).double()


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(PCALocality)
