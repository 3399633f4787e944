"""The ideal machine, smoothed: posterior means of perturbed inputs, averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from math import hypot, prod

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.draws import generator_for
from mosaic_plugins.machines import IS
from mosaic_plugins.references import SCARVELIS

__all__ = ["Smoothed"]

SEARCHED = 2**23  # pixels of training images that a search for neighbours holds at a time


class Smoothed(IS):
    """The ideal machine's score, averaged over perturbed inputs: x0hat is the mean of x0hat(x + sigma z_m), m = 1 .. M.

    z_m is standard normal noise, drawn afresh for each sample at each step. At a level (a, s) that does not preserve
    the variance, sigma is multiplied by sqrt(a^2 + s^2). It attributes pixels by the posterior of x itself.

    References: Scarvelis, Borde & Solomon 2023 (Closed-form diffusion models, arXiv 2310.12395).

    The paper's: the closed-form score (here IS) convolved with Gaussian noise, estimated by M draws. It also estimates
    the score itself from near neighbours.
    The published code's: that of Lukoianov et al. 2025, with 10 fresh draws at each step. Its sigma is 1 on MNIST and
    0.1 elsewhere, in units of a variance preserving x. It sums over the 200 nearest images: `neighbours=200`. Not
    compared in numbers, since the draws are random.
    Ours: the seeds of the draws; exact sums over all images as the default; the attribution.
    """

    name = "smoothed"
    references = (SCARVELIS,)

    class Options(mosaic.Options):
        """Number, size and seed of the perturbations, and how many images count."""

        draws: int = Field(10, ge=1, le=10_000, description="M, the number of perturbations of each sample and step.")
        sigma: float | None = Field(
            None,
            gt=0,
            le=100,
            description="Standard deviation of the perturbations, in units of a variance preserving x. Default: as "
            "published, 1 for data set mnist, else 0.1.",
        )
        neighbours: int | None = Field(
            None,
            ge=1,
            le=1_000_000,
            description="Training images, those nearest to each perturbed x / signal, that count; the published code "
            "has 200. Default: all.",
        )
        seed: int = Field(0, ge=0, lt=2**32, description="Seed of the perturbations.")

    options: Options

    @property
    def sigma(self) -> float:
        """Standard deviation of the perturbations of a variance preserving x."""
        if self.options.sigma is not None:
            return self.options.sigma
        return 1.0 if self.dataset.name == "mnist" else 0.1

    def evaluate(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> tuple[Tensor, mosaic.Posterior | None]:
        """Average x0hat (B, C, H, W) over the perturbations, in float64; with diagnostics, the posterior of x."""
        total = torch.zeros_like(x, dtype=torch.float64)
        for noise in self.perturbations(x, level):
            if self.options.neighbours is None:
                total += self.posterior(x + noise, images, level, scale, compute).mean()
            else:
                total += nearest_mean(x + noise, images, level, self.options.neighbours)
        posterior = self.posterior(x, images, level, scale, compute) if compute.diagnostics else None
        return total / self.options.draws, posterior

    def perturbations(self, x: Tensor, level: mosaic.Level) -> Iterator[Tensor]:
        """Draw the M perturbations of x (B, C, H, W) at a level, each like x."""
        generators = [generator_for(sample, level, self.options.seed) for sample in x]
        sigma = self.sigma * hypot(level.signal, level.noise)
        for _ in range(self.options.draws):
            drawn = [torch.randn(x.shape[1:], generator=each, dtype=torch.float64, device="cpu") for each in generators]
            yield sigma * torch.stack(drawn).to(x)

    def held_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Count a perturbed batch in float64, and a search for neighbours with the images that it finds."""
        pixels, count = prod(self.dataset.shape), min(self.options.neighbours or 0, len(self.dataset))
        search = 8 * (SEARCHED + 8 * batch * (count + SEARCHED // pixels)) if count else 0
        return 8 * batch * pixels * (10 + 2 * count) + search

    def read_values(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Count what a search for neighbours reads at a time."""
        return SEARCHED

    @property
    def traits(self) -> mosaic.Traits:
        """Each sample is compared with N images for each of the M perturbations.

        The fingerprint names how they are drawn: runs of another way to draw are not resumed.
        """
        return replace(
            super().traits,
            comparisons=lambda scale: self.options.draws * len(self.dataset),
            fingerprint=lambda: sha256(b"drawn afresh for each sample and step").hexdigest(),
        )


def nearest_mean(x: Tensor, images: mosaic.Images, level: mosaic.Level, count: int) -> Tensor:
    """Posterior means of x (B, C, H, W) over the `count` images nearest to x / a each, or all if fewer; in float64."""
    distances, places = mosaic.nearest_images(x / level.signal, images, min(count, len(images)))
    weights = (-0.5 * (distances / level.ratio).square()).softmax(1)
    return torch.einsum("bk,bkchw->bchw", weights, images[places].double())


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(Smoothed)
