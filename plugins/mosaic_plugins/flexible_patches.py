"""Posterior means of patches of any shape: the pixels that matter to a network, averaged where they overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

import mosaic
from mosaic_plugins.footprint import network_memory
from mosaic_plugins.references import NIEDOBA
from mosaic_plugins.schedules import Edm
from mosaic_plugins.trained import TrainedNetwork

__all__ = ["SHARES", "FlexiblePatches", "composite_of", "masks_of"]

# Niedoba et al. 2024, on CIFAR10: shares by the 18 levels of Karras et al. 2022, eq. 5, from sigma 0.002 to 80.
SHARES = (0.3, 0.3, 0.3, 0.3, 0.4, 0.4, 0.4, 0.4, 0.5, 0.7, 0.7, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
SIGMAS = tuple(Edm().level(i / 17).noise for i in range(18))

BATCH = 8  # images whose gradients are computed together


class FlexiblePatches(mosaic.ScoreModel):
    """Posterior means of patches of any shape, averaged at each pixel over all patches that hold it.

    There is a patch for each pixel p of the image: the fewest pixels that hold more than a given share of the network's
    heat map of p, or all pixels if the share is 1. The heat map at pixel u is the mean, over noisy training images at
    the level, of the sum over channels c of |d x0hat(p, c) / d x(u, c)|. Patches are compared with the training patches
    at their own place. At each new level heat maps take C H W backward passes of the network for each batch of images;
    they are kept in the cache folder.

    References: Niedoba, Zwartsenberg, Murphy & Wood 2024 (arXiv 2411.19339), eq. 8 and 11, PSPC-Flex.

    The paper's: heat maps, masks and composite; shares by level, `SHARES`, chosen for CIFAR10. Its heat maps are means
    over 1,000 images of its own network.
    The published code's: the shares; that patches hold more than the share, so that a pixel more is kept where fewer
    hold it exactly. By default it counts mirror images of the training set, too: `flips=true`. Not compared in numbers:
    its heat maps are a file of theirs.
    Ours: the network is any of yours, and `images` is 64; the share of a level between theirs is that of the nearest in
    log(s / a); a pixel that no patch holds is that of its own patch.
    """

    name = "patch-posterior-flex"
    references = (NIEDOBA,)
    path_options = ("checkpoint",)

    class Options(mosaic.Options):
        """The network, how much of its heat maps is kept, and what they are averaged over."""

        # Not a required field: what requires a checkpoint is the network itself (`Registry.checkpoint_score`).
        checkpoint: Path | None = Field(
            None,
            validate_default=True,
            description="Folder that `mosaic train` or `mosaic convert` wrote: the network of the heat maps. Needed.",
        )
        share: float | None = Field(
            None,
            gt=0,
            le=1,
            description="Share of each heat map, of which its patch holds more. Default: as published for CIFAR10, "
            "from 0.3 at the lowest noise to 1 at s / a = 8.4 and above.",
        )
        flips: bool = Field(
            False, description="Whether mirror images of the training set count, too, as the published code has it."
        )
        images: int = Field(64, ge=1, le=100_000, description="Noisy training images that heat maps are means over.")
        seed: int = Field(0, ge=0, lt=2**32, description="Seed of the choice of these images, and of their noise.")

        def unused(self) -> Mapping[str, str]:
            """What heat maps are made of, where patches are whole images."""
            return dict.fromkeys(("images", "seed") if self.share == 1 else (), "share=1")

        @field_validator("checkpoint")
        @classmethod
        def _needed(cls, value: Path | None) -> Path | None:
            if value is None:
                raise ValueError("it needs the folder of a network")
            return value

    options: Options

    def __init__(self, options: Any, dataset: mosaic.DataSet) -> None:
        super().__init__(options, dataset)
        self.network = TrainedNetwork(TrainedNetwork.Options(checkpoint=self.options.checkpoint), dataset)
        self._latest: tuple[mosaic.Level, mosaic.Filters] | None = None

    @property
    def traits(self) -> mosaic.Traits:
        """The network's schedule and weights; each patch of a sample is compared with one of each image."""
        network = self.network.traits
        return mosaic.Traits(
            is_conditional=True,
            comparisons=lambda scale: prod(self.dataset.shape[1:]) * len(self.dataset) * len(self.moves),
            schedule=network.schedule,
            fingerprint=network.fingerprint,
            plugins=lambda: [("score", TrainedNetwork.name), *network.plugins()],
            memory=self._memory,
        )

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse images and levels that the network was not trained for."""
        checkpoint = self.network.read_checkpoint()
        return self.network.check(levels, scales, (0,) if checkpoint.is_conditional else (-1,))

    def _memory(self, batch: int, scale: float, dtype: torch.dtype, labels: tuple[int, ...]) -> mosaic.Memory | None:
        """The network with all that a gradient needs, heat maps, filters, and a block of logits."""
        shape = (min(BATCH, self.options.images), *self.dataset.shape)
        is_conditional = self.network.read_checkpoint().is_conditional
        network = network_memory(self.network.load(), shape, torch.float32, is_conditional, has_gradient=True)
        if network is None:
            return None
        pixels, numbers = prod(self.dataset.shape[1:]), prod(self.dataset.shape)
        dense = 8 * pixels * numbers  # a matrix of filters, or their means
        maps = 8 * 6 * pixels**2
        block = mosaic.Compute().block_on(self.dataset.images.device)
        each = len(self.moves) * mosaic.filtered_workspace_bytes(block, pixels, numbers) + 4 * dense
        return mosaic.Memory(network.held + maps + 5 * dense + 8 * 4 * batch * numbers, each, block)

    def share_at(self, level: mosaic.Level) -> float:
        """Share of the heat maps at a level."""
        if self.options.share is not None:
            return self.options.share
        distances = [abs(math.log(sigma / level.ratio)) for sigma in SIGMAS]
        return SHARES[distances.index(min(distances))]

    @mosaic.standard_torch()
    @torch.no_grad()
    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give x0hat (B, C, H, W); a sample with a label is compared only with the training images of its class."""
        filters, result = self.filters_at(level), torch.empty_like(x)
        for members, places in self.dataset.class_groups(labels):
            images = self.dataset.images if places is None else mosaic.select_images(self.dataset.images, places)
            mean = mosaic.filtered_posterior_mean(x[members], images, level, filters, moves=self.moves)
            result[members] = mean.to(x.dtype)
        return result

    @property
    def moves(self) -> list[mosaic.Move]:
        """Images as they are and, on request, mirrored."""
        return mosaic.Move.augmented([mosaic.Move()], flips=self.options.flips)

    def filters_at(self, level: mosaic.Level) -> mosaic.Filters:
        """The patches at a level as filters; those of the latest level are kept."""
        if self._latest is None or self._latest[0] != level:
            share, device = self.share_at(level), self.dataset.images.device
            if share == 1:
                filters = mosaic.Filters.whole(self.dataset.shape, device)
            else:
                filters = composite_of(masks_of(self.heat_maps(level), share).to(device), self.dataset.shape[0])
            self._latest = level, filters
        return self._latest[1]

    def heat_maps(self, level: mosaic.Level) -> Tensor:
        """Heat maps (H W, H W) at a level, one row for each pixel of x0hat; float64, on the CPU."""
        key = {
            "what": "heat maps 1",
            "network": self.network.traits.fingerprint(),
            "images": mosaic.digest_of(self.dataset.images),
            "labels": None if self.dataset.labels is None else mosaic.digest_of(self.dataset.labels),
            "level": [level.signal, level.noise],
            "count": self.options.images,
            "seed": self.options.seed,
            "device": self.dataset.images.device.type,
        }
        return mosaic.cached_tensor(key, lambda: self._heat_maps(level).cpu())

    def _heat_maps(self, level: mosaic.Level) -> Tensor:
        height, width = self.dataset.shape[1:]
        total = torch.zeros(height * width, height * width, dtype=torch.float64, device=self.dataset.images.device)
        with torch.enable_grad():
            for noisy, labels in self._noisy_images(level):
                x = noisy.requires_grad_()
                denoised = self.network.denoise(x, level, labels).flatten(2).sum(0)  # samples do not mix
                for channel, values in enumerate(denoised):
                    for pixel, value in enumerate(values):
                        (slopes,) = torch.autograd.grad(value, x, retain_graph=True)
                        total[pixel] += slopes[:, channel].abs().sum(0, dtype=torch.float64).flatten()
        return total / min(self.options.images, len(self.dataset))

    def _noisy_images(self, level: mosaic.Level) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Batches of seeded training images at a level, float32, with labels for a network that has classes."""
        generator = torch.Generator("cpu").manual_seed(self.options.seed)
        count = min(self.options.images, len(self.dataset))
        chosen = torch.randperm(len(self.dataset), generator=generator, dtype=torch.int64, device="cpu")[:count]
        is_conditional = self.network.read_checkpoint().is_conditional
        for places in chosen.split(BATCH):
            noise = torch.randn(
                len(places), *self.dataset.shape, generator=generator, dtype=torch.float32, device="cpu"
            )
            some = self.dataset.select(places.to(self.dataset.images.device))
            images = some.images[:].float()
            yield level.signal * images + level.noise * noise.to(images), some.labels if is_conditional else None


def masks_of(heat_maps: Tensor, share: float) -> Tensor:
    """The fewest pixels of each heat map (F, P) that hold more than a share of it (all, if it is 1): bool (F, P).

    Of equal pixels, those that come later are left out first.
    """
    if share >= 1:
        return torch.ones_like(heat_maps, dtype=torch.bool)
    values, order = heat_maps.sort(dim=1, descending=True, stable=True)
    before = values.cumsum(1) - values  # what the pixels before a pixel hold; it is kept if that is not enough yet
    kept = before <= share * values.sum(1, keepdim=True)
    return torch.zeros_like(kept).scatter_(1, order, kept)


def composite_of(masks: Tensor, channels: int) -> mosaic.Filters:
    """Filters (F, C F) that compare the pixels of each mask (F, F), one a row, in all channels, and answer for them."""
    held = masks.double()
    alone = ~masks.any(0)
    answers = held + torch.diag(alone.double())  # of a pixel in no patch, its own
    answers = answers / answers.sum(0)
    return mosaic.Filters(held.repeat(1, channels), answers.repeat(1, channels))
