"""Analytic machines: score models that are a posterior over the training set."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from mosaic.compute import DEFAULT, Compute
from mosaic.diagnosis import Diagnosis, everywhere
from mosaic.errors import UsageError
from mosaic.posterior import Posterior
from mosaic.schedule import Level
from mosaic.score import ScoreModel
from mosaic.ties import Source
from mosaic.windows import check_window_size

__all__ = ["NEAREST", "AnalyticMachine"]

# Which candidate is nearest does not depend on the level; at this one, products in float32 are exact enough.
NEAREST = Level(1.0, 0.1)


class AnalyticMachine(ScoreModel):
    """A score model whose posterior mean is computed from the training images; subclasses choose candidates.

    Attributes
    ----------
    compute : Compute
        How its candidates are compared; a subclass hands it to the function that does.
    """

    tells = True
    compute: Compute = DEFAULT

    @property
    def conditional(self) -> bool:
        """A sample with a label meets its class only."""
        return True

    @abstractmethod
    def posterior(self, x: Tensor, images: Tensor, level: Level, scale: int) -> Posterior:
        """Give the posterior of noisy images x (B, C, H, W) over candidates from images (N, C, H, W)."""

    def evaluate(self, x: Tensor, images: Tensor, level: Level, scale: int) -> tuple[Tensor, Posterior | None]:
        """Give x0hat of x by candidates from images, and the posterior that tells what it is made of.

        x0hat is the mean of that posterior, unless overridden; the posterior may be None without
        `compute.diagnostics`.
        """
        posterior = self.posterior(x, images, level, scale)
        return posterior.mean(), posterior

    def held_bytes(self, batch: int, scale: int, element: int) -> int:
        """Bytes that an evaluation holds at most beside its tiles, for a batch of so many, of elements of this size."""
        return 0

    def sources(self, posterior: Posterior, images: Tensor, level: Level, scale: int) -> Source:
        """Give the best candidates (B, h, w) of a posterior over images, with ties resolved.

        As `Posterior.candidate` has them where it is not overridden; their multiplicity is 0 then: not counted.
        """
        image, row, column = posterior.candidate()
        return Source(image, row, column, torch.zeros_like(image))

    @torch.no_grad()
    def denoise(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
        """Give x0hat; a sample with a label meets the training images of that class only.

        Raises
        ------
        UsageError
            If x does not fit the training images, or the scale or a label cannot be used.
        """
        self._check_batch(x, level, labels, scale)
        result = torch.empty_like(x)
        for members, places in self.dataset.meetings(labels):
            found, _ = self.evaluate(x[members], self._images_at(places), level, scale)
            result[members] = found.to(x.dtype)
        return result

    @torch.no_grad()
    def diagnose(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: int = 0) -> Diagnosis:
        """Give x0hat and what it is made of, in the same pass; arguments as for `denoise`."""
        self._check_batch(x, level, labels, scale)
        machine = copy.copy(self)
        machine.compute = replace(self.compute, diagnostics=True)
        result, shape = torch.empty_like(x), (len(x), *x.shape[2:])
        source = Source(*(torch.zeros(shape, dtype=torch.int64, device=x.device) for _ in range(4)))
        weight, entropy = (torch.zeros(shape, dtype=torch.float64, device=x.device) for _ in range(2))
        for members, places in self.dataset.meetings(labels):
            images = self._images_at(places)
            found, posterior = machine.evaluate(x[members], images, level, scale)
            assert posterior is not None
            own, weight[members], entropy[members] = everywhere(
                posterior, machine.sources(posterior, images, level, scale)
            )
            result[members] = found.to(x.dtype)
            source.image[members] = own.image if places is None else places[own.image]
            source.row[members], source.column[members] = own.row, own.column
            source.multiplicity[members] = own.multiplicity
        return Diagnosis(result, source, weight, entropy)

    def trace(self, images: Tensor, labels: Tensor | None = None, scale: int = 0) -> Source:
        """Tell which candidate is nearest to each pixel's window; arguments as for `denoise`."""
        return self.diagnose(images, NEAREST, labels, scale).source

    def _check_batch(self, x: Tensor, level: Level, labels: Tensor | None, scale: int) -> None:
        if x.ndim != 4 or tuple(x.shape[1:]) != self.dataset.shape:
            raise UsageError(
                f"x has shape {tuple(x.shape)}; the images of '{self.dataset.name}' have shape {self.dataset.shape}."
            )
        if x.dtype not in (torch.float32, torch.float64):
            raise UsageError(f"x is {x.dtype}; the machines compute in torch.float32 or torch.float64.")
        if labels is not None and labels.shape != (len(x),):
            raise UsageError(f"{len(x)} samples need as many labels, not labels of shape {tuple(labels.shape)}.")
        self.check((level,), (scale,), ())

    def check(self, levels: tuple[Level, ...], scales: tuple[int, ...], labels: tuple[int, ...]) -> None:
        """Refuse scales that are no window sizes."""
        for scale in scales if self.has_scale else ():
            check_window_size(scale)

    def _images_at(self, places: Tensor | None) -> Tensor:
        return self.dataset.images if places is None else self.dataset.images[places]
