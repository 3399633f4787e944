"""PCA locality over a few images, which are drawn and chosen for each sample and step.

References: Shang, Sun, Lin & Shen 2026 (Fast and scalable analytical diffusion, arXiv 2602.16498).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import hypot
from typing import NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

import mosaic
from mosaic_plugins.draws import generator_for
from mosaic_plugins.pca_locality import Fit, PCALocality
from mosaic_plugins.references import LUKOIANOV, SHANG

__all__ = ["Counts", "GoldenFit", "GoldenSubset"]

CHUNK = 1024  # images whose proxies are made at a time


@dataclass(frozen=True)
class GoldenFit(Fit):
    """Images with their moments, and their proxies (N, C h w), float64; None where images are read in pieces."""

    proxies: Tensor | None


class Counts(NamedTuple):
    """How many images are drawn, how many of these remain after the coarse look, and how many after the fine one."""

    pool: int
    coarse: int
    fine: int


class GoldenSubset(PCALocality):
    """`pca-locality` over a golden subset of the images: drawn at random, then chosen by a coarse and a fine look.

    For each sample and step, with s' = s / sqrt(a^2 + s^2), k_max + (N - k_max) (1 - s') images are drawn without
    replacement. The coarse look keeps the k_max of them whose means over blocks of pixels are nearest to those of
    x / a. The fine look keeps the k_max - (k_max - k_min) (1 - s') of these that are nearest to x / a themselves. The
    posterior over them is that of PCA locality, with the masks of all images.

    References: Shang et al. 2026 (arXiv 2602.16498).

    The paper's: the two looks and their numbers, k_min = N / 20 and k_max = N / 10, and PCA locality over the subset.
    The published code's: given its draws, its subsets are these, and its x0hat agrees to 2e-5
    (tests/plugins/test_golden_subset.py). Numbers are rounded to the nearest integer, as there.
    Ours: draws are seeded by x, level and `seed`, so a sample does not depend on its batch, and runs repeat. s' stands
    for s at levels that do not preserve the variance. Where the proxy's side n does not divide the image's side H,
    block i holds the pixels from floor(i H / n) to ceil((i + 1) H / n) - 1 (adaptive average pooling), so neighbours
    may share a row. A sample with a label has the subset, and the masks, of its class.
    """

    name = "golden-subset"
    references = (SHANG, LUKOIANOV)

    class Options(mosaic.Options):
        """How small the masks are, how many images are chosen, and how coarse the first look is."""

        threshold: float = Field(
            0.02,
            ge=0,
            lt=1,
            description="Share of the Wiener filter's largest entry from which on a pixel matters. Published: .02 for "
            "MNIST and FashionMNIST, .03 for CIFAR10 and CelebA-HQ, .04 for AFHQ.",
        )
        low: float = Field(
            0.05, gt=0, le=1, description="k_min / N: share of the images chosen where there is no noise."
        )
        high: float = Field(
            0.1,
            gt=0,
            le=1,
            description="k_max / N: share of the images chosen where there is only noise; at least `low`.",
        )
        proxy: int | None = Field(
            None,
            ge=1,
            le=4096,
            description="Side of the small images that the coarse look compares, in pixels. Default: as published, 16 "
            "for images of up to 32 pixels, else 32. Smaller images are compared themselves.",
        )
        seed: int = Field(0, ge=0, lt=2**32, description="Seed of the draws.")

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if self.low > self.high:
                raise ValueError(f"low is {self.low} and high {self.high}; low must not exceed high")
            return self

    options: Options  # type: ignore[assignment]

    def fit(self, images: mosaic.Images, labels: Tensor | None) -> GoldenFit:
        """Keep the images, their moments and their proxies; labels are ignored."""
        moments = super().fit(images, labels).moments
        if not isinstance(images, Tensor):
            return GoldenFit(images, moments, None)
        return GoldenFit(images, moments, torch.cat([self.proxies(chunk) for chunk in images.split(CHUNK)]))

    def proxies(self, images: Tensor) -> Tensor:
        """Means over blocks of images (n, C, H, W), flat, float64."""
        height, width = images.shape[2:]
        side = self.options.proxy or (16 if max(height, width) <= 32 else 32)
        return adaptive_avg_pool2d(images.double(), (min(side, height), min(side, width))).flatten(1)

    def counts(self, images: int, level: mosaic.Level) -> Counts:
        """How many of so many images are kept at a level, at each look."""
        clean = 1 - level.noise / hypot(level.signal, level.noise)
        least, most = (max(1, round(share * images)) for share in (self.options.low, self.options.high))
        return Counts(round(most + (images - most) * clean), most, round(most - (most - least) * clean))

    def pool(self, sample: Tensor, images: int, level: mosaic.Level) -> Tensor:
        """Places, rising, of the images drawn for a sample (C, H, W)."""
        generator = generator_for(sample, level, self.options.seed)
        order = torch.randperm(images, generator=generator, dtype=torch.int64, device="cpu")
        return order[: self.counts(images, level).pool].sort().values.to(sample.device)

    def places(self, fitted: GoldenFit, sample: Tensor, level: mosaic.Level, pool: Tensor) -> Tensor:
        """Places, rising, of the images chosen from a pool of places for a sample (C, H, W)."""
        counts = self.counts(len(fitted.images), level)
        clean = sample.double()[None] / level.signal
        # Stable sorts of differences, not of products: of equally near images the first ones are chosen.
        if fitted.proxies is not None:
            far = _distances(self.proxies(clean), [fitted.proxies[pool]])
        else:
            far = _distances(self.proxies(clean), map(self.proxies, _chunks(fitted.images, pool)))
        coarse = pool[far.sort(stable=True).indices[: counts.coarse].sort().values]
        near = _distances(clean.flatten(1), (chunk.flatten(1).double() for chunk in _chunks(fitted.images, coarse)))
        return coarse[near.sort(stable=True).indices[: counts.fine].sort().values]

    def kept_bytes(self, batch: int, labels: tuple[int, ...]) -> int:
        """Count the proxies of each class, a chunk of images to make them of, distances, and the images chosen."""
        channels, height, width = self.dataset.shape
        pixels, counts = channels * height * width, self.group_sizes(labels)
        proxy = self.options.proxy or 32
        proxies = channels * min(proxy, height) * min(proxy, width)
        chosen = self.counts(max(counts), mosaic.Level(1.0, 1e9)).coarse
        kept = 8 * 2 * proxies * sum(counts) * isinstance(self.dataset.images, Tensor) + 8 * 6 * max(counts)
        copied = chosen if isinstance(self.dataset.images, Tensor) else 0
        return super().kept_bytes(batch, labels) + kept + 8 * pixels * (copied + 4 * min(CHUNK, max(counts)))

    def apply(self, fitted: GoldenFit, x: Tensor, level: mosaic.Level) -> Tensor:  # type: ignore[override]
        """Give x0hat (B, D), one sample after the other."""
        filters = self.filters(fitted.moments, level)
        denoised = []
        for sample in x.view(-1, *self.dataset.shape):
            pool = self.pool(sample, len(fitted.images), level)
            images = mosaic.select_images(fitted.images, self.places(fitted, sample, level, pool))
            denoised.append(mosaic.filtered_posterior_mean(sample[None], images, level, filters).flatten())
        return torch.stack(denoised)


def _chunks(images: mosaic.Images, places: Tensor) -> Iterator[Tensor]:
    return (images[own] for own in places.split(CHUNK))


def _distances(point: Tensor, chunks: Iterable[Tensor]) -> Tensor:
    """Distances (n,) of a point (1, D) from the rows of all chunks (m, D), by differences."""
    return torch.cat([torch.cdist(point, chunk, compute_mode="donot_use_mm_for_euclid_dist")[0] for chunk in chunks])


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(GoldenSubset)
