"""The ideal machine over a few images, chosen for each sample by comparing block averages."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

import mosaic
from mosaic_plugins.machines import IS

__all__ = ["GoldenSubset"]


CHUNK = 1024  # images whose blocks are averaged at a time


class GoldenSubset(IS):
    """The ideal machine over the k training images that are nearest by a coarse look only.

    The coarse look compares images averaged over blocks of pixels. k falls with the noise, from `high` N to `low` N in
    proportion to s^2 / (a^2 + s^2). Of equal images, those outside the subset count as equals of its best one.

    References: Shang, Sun, Lin & Shen 2026 (Fast and scalable analytical diffusion, arXiv 2602.16498), of which we had
    the abstract only: how the share depends on the noise, and the size of the blocks, are our own.
    """

    name = "golden-subset"

    class Options(mosaic.Options):
        """Shares of the images kept, and the size of the blocks."""

        high: float = Field(0.1, gt=0, le=1, description="Share of the images kept where there is only noise.")
        low: float = Field(0.05, gt=0, le=1, description="Share of the images kept where there is none.")
        block: int = Field(4, ge=1, le=64, description="Side of the blocks that the coarse look averages, in pixels.")

    options: Options

    def __init__(self, options: mosaic.Options | None, dataset: mosaic.DataSet) -> None:
        super().__init__(options, dataset)
        self._coarse: tuple[Tensor, Tensor] | None = None

    def kept(self, count: int, level: mosaic.Level) -> int:
        """Number of images, of `count`, that are kept at a level."""
        noise = level.noise**2 / (level.signal**2 + level.noise**2)
        share = self.options.low + noise * (self.options.high - self.options.low)
        return max(1, round(share * count))

    def chosen(self, x: Tensor, images: Tensor, level: mosaic.Level) -> Tensor:
        """Places (B, k), int64, rising, of the images that each sample (B, C, H, W) is compared with."""
        if self._coarse is None or self._coarse[0] is not images:
            self._coarse = images, self._look(images)
        distances = torch.cdist(self._look(x / level.signal), self._coarse[1])
        return distances.topk(self.kept(len(images), level), largest=False).indices.sort(1).values

    def posterior(
        self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give the posterior over the images chosen for each sample."""
        parts = []
        for sample, places in zip(x.split(1), self.chosen(x, images, level), strict=True):
            part = mosaic.ideal_posterior(sample, images[places], level, compute=compute)
            if part.source is not None:
                size = images.shape[2] * images.shape[3]
                part.source = places[part.source // size] * size + part.source % size
            parts.append(part.parts())
        return mosaic.Posterior(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def held_bytes(self, batch: int, scale: int, dtype: torch.dtype) -> int:
        """Count the averages of all blocks, the distances between them, a chunk and a subset of images."""
        count, (channels, height, width) = len(self.dataset), self.dataset.shape
        block = min(self.options.block, height, width)
        averages = channels * -(-height // block) * -(-width // block)
        kept = self.kept(count, mosaic.Level(1.0, 1e9)), self.kept(count, mosaic.Level(1.0, 0.0))
        looked = 8 * 2 * count * averages + 8 * 4 * batch * count
        return looked + 8 * 2 * channels * height * width * max(min(CHUNK, count), *kept)

    def _look(self, images: Tensor) -> Tensor:
        """Means of blocks, flat; a block that reaches beyond the border is the mean of its pixels inside."""
        block = min(self.options.block, *images.shape[2:])
        chunks = (chunk.double() for chunk in images.split(CHUNK))
        return torch.cat([functional.avg_pool2d(chunk, block, ceil_mode=True).flatten(1) for chunk in chunks])


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(GoldenSubset)
