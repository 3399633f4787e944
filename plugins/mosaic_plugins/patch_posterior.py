"""Posterior means of whole patches, averaged where they overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

import mosaic
from mosaic_plugins.flexible_patches import FlexiblePatches
from mosaic_plugins.references import NIEDOBA

__all__ = ["PatchPosterior"]

BLOCK = 2**22  # logits held at a time


class PatchPosterior(mosaic.AnalyticMachine):
    """Posterior means of k x k patches given the noisy patch, averaged at each pixel over all patches that hold it.

    A patch is compared with the training patches at its own place, as a window of LS is. LS keeps the centre of the
    posterior mean, this machine all of it. k may be even. The weight of a training image at a pixel is its mean weight
    in the patches that hold the pixel; this posterior attributes the pixel.

    References: Niedoba, Zwartsenberg, Murphy & Wood 2024 (Towards a mechanistic explanation of diffusion model
    generalization, arXiv 2411.19339), PSPC-Square.

    The paper's: the patch set posterior composite with all square patches that lie wholly inside the image. The sizes
    follow the noise: `--scales niedoba/cifar10-square` are those for CIFAR10.
    The published code's: agrees to 2e-6 with its numbers for sizes 3, 4, 7 and 16
    (tests/plugins/test_patch_posterior.py). By default it counts mirror images of the training set, too: `flips=true`.
    Ours: boundary `circular`; a patch that is larger than the image on an axis is as large as the image there; the
    attribution.
    """

    name = "patch-posterior"
    references = (NIEDOBA,)

    class Options(mosaic.Options):
        """The boundary of the patches, and whether images are mirrored."""

        boundary: Literal["zeros", "circular"] = Field(
            "zeros", description="zeros: patches wholly inside the image (the paper's); circular: patches wrap (ours)."
        )
        flips: bool = Field(
            False, description="Whether mirror images of the training set count, too, as the published code has it."
        )

    options: Options

    @property
    def traits(self) -> mosaic.Traits:
        """A pixel depends on all patches that hold it; each patch is compared with one of each image."""
        return replace(super().traits, has_scale=True, window=self._window, comparisons=self._comparisons)

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Take patches of any size, even ones too."""
        for scale in scales:
            if scale < 1 or scale != int(scale):
                raise mosaic.UsageError(
                    f"Scale {scale} is not a valid patch size: it must be a whole number from 1 on."
                )
        return ()

    def held_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Count a block of squared differences, logits and their sums over patches; all of it is one thread's work.

        What is computed of a block is still held while that of the next one is.
        """
        channels, height, width = self.dataset.shape
        block = max(BLOCK, batch * height * width)
        return dtype.itemsize * (2 * channels + 17) * block + 8 * (2 * channels + 8) * batch * height * width

    def block_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Nothing beside what is held."""
        return 0

    def read_values(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Count a block of images, of so many that their logits fill it."""
        channels, height, width = self.dataset.shape
        return max(1, BLOCK // (batch * height * width)) * channels * height * width

    def _window(self, scale: float) -> int | None:
        """Side of the union of all patches that hold a pixel; None (all of x) if a patch is the whole image."""
        return 2 * int(scale) - 1 if scale < max(self.dataset.shape[1:]) else None

    def _comparisons(self, scale: float) -> int:
        """Count the patches of one sample, times the images."""
        sides = self.dataset.shape[1:]
        wraps = self.options.boundary == "circular"
        images = len(self.dataset) * (2 if self.options.flips else 1)
        return images * math.prod(size if wraps else size - min(int(scale), size) + 1 for size in sides)

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give each pixel's mean, over the patches that hold it, of their posteriors over images."""
        wraps, flips = self.options.boundary == "circular", self.options.flips
        return composite(x, images, level, int(scale), wraps, flips=flips, diagnostics=compute.diagnostics)

    def sources(
        self, posterior: mosaic.Posterior, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> mosaic.Source:
        """Give the best images; of those that are equal in all patches that hold the pixel the first.

        Where mirror images count, equals are not counted.
        """
        if self.options.flips:
            return super().sources(posterior, images, level, scale)
        wraps = self.options.boundary == "circular"
        union = 2 * min(int(scale), max(self.dataset.shape[1:])) - 1
        return mosaic.resolve_window_ties(posterior, images, union, wraps, aligned=True)


def composite(
    x: Tensor,
    images: mosaic.Images,
    level: mosaic.Level,
    k: int,
    wraps: bool,
    *,
    flips: bool = False,
    diagnostics: bool = False,
) -> mosaic.Posterior:
    """Average, at each pixel of x (B, C, H, W), the posteriors over images (N, C, H, W) of all k x k patches with it.

    One pass over the images finds maximum and mass of each patch's softmax. A second one finds the weight of an image
    at a pixel: a sum over the patches that hold the pixel. It computes in float32 or float64, as x. With `flips` the
    images count mirrored, too.
    """
    sides = tuple(min(k, size) for size in x.shape[2:])
    factor = -0.5 / level.noise**2

    def logits(block: Tensor) -> Tensor:
        """Of each patch, by its first row and column: (B, n, H - k + 1, W - k + 1), or (B, n, H, W) if patches wrap."""
        values = (x[:, None] - level.signal * block.to(x.dtype)).square().sum(2).mul_(factor)
        for dim, side in zip((-2, -1), sides, strict=True):
            values = torch.cat([values, values.narrow(dim, 0, side - 1)], dim) if wraps else values
            values = _sums(values, dim, side)
        return values

    def spread(values: Tensor) -> Tensor:
        """Sum what is given for each patch at every pixel that it holds: (..., H, W)."""
        for dim, side in zip((-2, -1), sides, strict=True):
            size = values.shape[dim]
            if wraps:
                values = torch.cat([values.narrow(dim, size - side + 1, side - 1), values], dim)
            else:
                values = pad(values, (0, 0, side - 1, side - 1) if dim == -2 else (side - 1, side - 1))
            values = _sums(values, dim, side)
        return values

    batch, channels, height, width = x.shape
    place = torch.arange(height * width, dtype=torch.int64, device=x.device).view(height, width)

    def blocks() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Images, their numbers, and the places in them of the pixels that they have at each pixel."""
        length = max(1, BLOCK // (batch * height * width))
        numbers = torch.arange(len(images), dtype=torch.int64, device=x.device)
        for block, own in zip(mosaic.image_blocks(images, length), numbers.split(length), strict=True):
            yield block, own, place
            if flips:
                yield block.flip(3), own, place.flip(1)

    top, mass = x.new_full((), -torch.inf), x.new_zeros(())
    for block, _, _ in blocks():
        own = logits(block)
        maximum = torch.maximum(top, own.amax(1))
        mass = mass * torch.exp(top - maximum) + torch.exp(own - maximum[:, None]).sum(1)
        top = maximum
    total, energy, best = x.new_zeros(3, batch, height, width, dtype=torch.float64)
    weighted = x.new_zeros(batch, channels, height, width, dtype=torch.float64)
    source = torch.zeros(batch, height, width, dtype=torch.int64, device=x.device)
    for block, numbers, places in blocks():
        weights = spread(torch.exp(logits(block) - top[:, None]) / mass[:, None])
        total += weights.sum(1, dtype=torch.float64)
        weighted += torch.einsum("bnhw,nchw->bchw", weights, block.to(x.dtype))
        if diagnostics:
            energy += torch.xlogy(weights, weights).sum(1, dtype=torch.float64)
            largest, image = weights.max(1)
            source = torch.where(largest > best, numbers[image] * (height * width) + places, source)
            best = torch.maximum(best, largest.double())
    if not diagnostics:
        return mosaic.Posterior(torch.zeros_like(total), total, weighted)
    bits = torch.log2(best)  # a posterior holds sums relative to its largest weight, and logarithms in bits
    energy = (energy / math.log(2) - bits * total) / best
    return mosaic.Posterior(bits, total / best, weighted / best[:, None], energy, source)


def _sums(values: Tensor, dim: int, side: int) -> Tensor:
    """Sums of `side` neighbours along an axis: for each place where all of them lie inside."""
    return mosaic.window_sums(values, dim, side, "zeros").narrow(dim, side // 2, values.shape[dim] - side + 1)


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(PatchPosterior)
    register(FlexiblePatches)
