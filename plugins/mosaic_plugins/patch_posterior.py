"""Posterior means of whole patches, averaged where they overlap."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.machines import LS

__all__ = ["PatchPosterior"]

BLOCK = 2**22  # logits held at a time


class PatchPosterior(LS):
    """Posterior means of k x k patches given the noisy patch, averaged at each pixel over all patches that hold it.

    A patch is compared with the training patches at its own place, as in LS. LS keeps the centre of the posterior mean,
    this machine all of it. Patches lie wholly inside the image (or wrap). One that is larger than the image is the
    whole image. The machine attributes pixels by the posterior of the patch about the pixel.

    References: Niedoba, Zwartsenberg, Murphy & Wood 2024 (Towards a mechanistic explanation of diffusion model
    generalization, arXiv 2411.19339), the patch set posterior composite with square patches.
    """

    name = "patch-posterior"

    class Options(LS.Options):
        """The engine of the attribution, and the boundary of the patches."""

        boundary: Literal["zeros", "circular"] = Field(
            "zeros", description="zeros: patches wholly inside the image (the paper's); circular: patches wrap."
        )

    options: Options

    @property
    def traits(self) -> mosaic.Traits:
        """A pixel depends on all patches that hold it."""
        return replace(super().traits, window=self._window)

    def engine_for(self, dtype: torch.dtype) -> str:
        """Name torch, which averages whole patches; the engine option only chooses the one that attributes pixels."""
        return "torch"

    def held_bytes(self, batch: int, scale: int, dtype: torch.dtype) -> int:
        """Count a block of squared differences, logits and their window sums; all of it is one thread's work."""
        channels, height, width = self.dataset.shape
        block = max(BLOCK, batch * height * width)
        return dtype.itemsize * (3 * channels + 6) * block + 8 * (2 * channels + 4) * batch * height * width

    def _window(self, scale: int) -> int | None:
        """Side of the union of all patches that hold a pixel; None (all of x) if a patch is the whole image."""
        inside = self.options.boundary == "circular" or scale <= min(self.dataset.shape[1:])
        return 2 * scale - 1 if inside else None

    def evaluate(
        self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int, compute: mosaic.Compute
    ) -> tuple[Tensor, mosaic.Posterior | None]:
        """Give x0hat (B, C, H, W), in float64; with diagnostics, the posterior of the windows about the pixels."""
        denoised = composite(x, images, level, scale, self.options.boundary)
        return denoised, self.posterior(x, images, level, scale, compute) if compute.diagnostics else None


def composite(x: Tensor, images: Tensor, level: mosaic.Level, k: int, boundary: str) -> Tensor:
    """Posterior means of all k x k patches of x (B, C, H, W) over images (N, C, H, W), averaged where they overlap.

    The value of a pixel is a weighted mean over images. The weight of an image is the sum of the softmax weights of all
    patches that hold the pixel, a box sum. One pass over the images finds the softmax's maximum and mass, a second one
    the weights. It computes in float32 or float64, as x.
    """
    height, width = x.shape[2:]
    inside = x.new_ones(height, width)
    if boundary == "zeros" and k > min(height, width):
        k = 2 * max(height, width) - 1  # about every pixel, such a window is the whole image
    elif boundary == "zeros":
        r = k // 2
        inside[:r], inside[height - r :], inside[:, :r], inside[:, width - r :] = 0, 0, 0, 0

    def summed(values: Tensor) -> Tensor:
        return mosaic.window_sums(mosaic.window_sums(values, -2, k, boundary), -1, k, boundary)

    def logits(block: Tensor) -> Tensor:
        squares = (x[:, None] - level.signal * block.to(x.dtype)).square().sum(2)
        return summed(squares) / (-2 * level.noise**2)

    blocks = images.split(max(1, BLOCK // (len(x) * height * width)))
    top, mass = x.new_full((len(x), height, width), -torch.inf), x.new_zeros(len(x), height, width)
    for block in blocks:
        own = logits(block)
        before, top = top, torch.maximum(top, own.amax(1))
        mass = mass * torch.exp(before - top) + torch.exp(own - top[:, None]).sum(1)
    share = (inside / mass)[:, None]
    result = torch.zeros_like(x, dtype=torch.float64)
    for block in blocks:
        weights = summed(torch.exp(logits(block) - top[:, None]) * share)
        result += torch.einsum("bnhw,nchw->bchw", weights, block.to(x.dtype))
    return result / summed(inside)


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(PatchPosterior)
