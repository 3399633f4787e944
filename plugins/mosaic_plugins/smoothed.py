"""The ideal machine, smoothed: posterior means of perturbed inputs, averaged."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.machines import IS

__all__ = ["Smoothed"]


class Smoothed(IS):
    """The ideal machine's x0hat, averaged over perturbed inputs: the mean of x0hat(x + sigma eps_m), m = 1 .. M.

    The perturbations are seeded, the same for all samples and levels, and come in pairs of opposite sign, so that they
    average out. It attributes pixels by the posterior of x itself.

    References: Scarvelis, Borde & Solomon 2023 (Closed-form diffusion models, arXiv 2310.12395), sec. 4.
    """

    name = "smoothed"

    class Options(mosaic.Options):
        """Number, size and seed of the perturbations."""

        draws: int = Field(16, ge=2, le=10_000, multiple_of=2, description="M, the number of perturbations, even.")
        sigma: float = Field(
            0.3, gt=0, le=100, description="Standard deviation of the perturbations, in units of pixels of x."
        )
        seed: int = Field(0, ge=0, lt=2**32, description="Seed of the perturbations.")

    options: Options

    def evaluate(
        self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int, compute: mosaic.Compute
    ) -> tuple[Tensor, mosaic.Posterior | None]:
        """Average x0hat (B, C, H, W) over the perturbations, in float64; with diagnostics, the posterior of x."""
        total = torch.zeros_like(x, dtype=torch.float64)
        for noise in self.perturbations(x):
            total += self.posterior(x + noise, images, level, scale, compute).mean()
        posterior = self.posterior(x, images, level, scale, compute) if compute.diagnostics else None
        return total / self.options.draws, posterior

    def perturbations(self, x: Tensor) -> list[Tensor]:
        """The M perturbations of an image, each (C, H, W), of x's dtype."""
        generator = torch.Generator().manual_seed(self.options.seed)
        half = torch.randn(
            self.options.draws // 2, *x.shape[1:], generator=generator, dtype=torch.float64, device="cpu"
        )
        return [sign * self.options.sigma * noise.to(x) for sign in (1, -1) for noise in half]

    def held_bytes(self, batch: int, scale: int, dtype: torch.dtype) -> int:
        """Count all perturbations, in float64 and as x."""
        return 8 * (2 * self.options.draws + 8 * batch) * prod(self.dataset.shape)

    @property
    def traits(self) -> mosaic.Traits:
        """Each sample is compared with N images for each of the M perturbations."""
        return replace(super().traits, comparisons=lambda scale: self.options.draws * len(self.dataset))


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(Smoothed)
