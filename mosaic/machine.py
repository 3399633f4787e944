"""Analytic machines: score models that are a posterior over the training set."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from mosaic.compute import DEFAULT, Compute
from mosaic.errors import UsageError
from mosaic.posterior import Posterior
from mosaic.schedule import Level
from mosaic.score import ScoreModel
from mosaic.windows import check_window_size

__all__ = ["AnalyticMachine"]


class AnalyticMachine(ScoreModel):
    """A score model whose posterior mean is computed from the training images; subclasses choose candidates.

    Attributes
    ----------
    compute : Compute
        How its candidates are compared; a subclass hands it to the function that does.
    """

    compute: Compute = DEFAULT

    @abstractmethod
    def posterior(self, x: Tensor, images: Tensor, level: Level, scale: int) -> Posterior:
        """Give the posterior of noisy images x (B, C, H, W) over candidates from images (N, C, H, W)."""

    def denoised(self, x: Tensor, images: Tensor, level: Level, scale: int) -> Tensor:
        """Give x0hat of x by candidates from images: the posterior's mean."""
        return self.posterior(x, images, level, scale).mean()

    @torch.no_grad()
    def denoise(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: int = 0) -> Tensor:
        """Give x0hat; a sample with a label meets the training images of that class only.

        Raises
        ------
        UsageError
            If x does not fit the training images, or the scale or a label cannot be used.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != self.dataset.shape:
            raise UsageError(
                f"x has shape {tuple(x.shape)}; the images of '{self.dataset.name}' have shape {self.dataset.shape}."
            )
        if x.dtype not in (torch.float32, torch.float64):
            raise UsageError(f"x is {x.dtype}; the machines compute in torch.float32 or torch.float64.")
        if labels is not None and labels.shape != (len(x),):
            raise UsageError(f"{len(x)} samples need as many labels, not labels of shape {tuple(labels.shape)}.")
        self.check((level,), (scale,), ())
        if labels is None or bool((labels == -1).all()):
            return self.denoised(x, self.dataset.images, level, scale).to(x.dtype)
        result = torch.empty_like(x)
        for label in labels.unique().tolist():
            members = labels == label
            result[members] = self.denoised(x[members], self._images_of(label), level, scale).to(x.dtype)
        return result

    def check(self, levels: tuple[Level, ...], scales: tuple[int, ...], labels: tuple[int, ...]) -> None:
        """Refuse scales that are no window sizes."""
        for scale in scales if self.has_scale else ():
            check_window_size(scale)

    def _images_of(self, label: int) -> Tensor:
        dataset = self.dataset
        if label == -1:
            return dataset.images
        if dataset.labels is None:
            raise UsageError(f"Data set '{dataset.name}' has no labels, so label {label} cannot be used.")
        images = dataset.images[dataset.labels == label]
        if len(images) == 0:
            present = ", ".join(str(int(c)) for c in dataset.labels.unique())
            raise UsageError(f"Data set '{dataset.name}' has no images of label {label}; it has: {present}.")
        return images
