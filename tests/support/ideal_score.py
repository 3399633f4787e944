"""A score model that is right in all, the ideal score in plain torch, and its values by numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import mosaic


class Ideal(mosaic.ScoreModel):
    """Right: the ideal score, in plain torch."""

    name = "ideal"

    @property
    def traits(self) -> mosaic.Traits:
        return mosaic.Traits(is_conditional=True)

    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        rows = [self.sample(x[n], level, -1 if labels is None else int(labels[n])) for n in range(len(x))]
        return torch.stack(rows).to(x.dtype)

    def sample(self, x: Tensor, level: mosaic.Level, label: int) -> Tensor:
        images = self.dataset.images.double()
        if label >= 0:
            images = images[self.dataset.labels == label]
            if len(images) == 0:
                raise mosaic.UsageError(f"There are no images of label {label}.")
        apart = (x.double() - level.signal * images).square().sum((1, 2, 3))
        return torch.einsum("n,nchw->chw", (-apart / (2 * level.noise**2)).softmax(0), images)


def ideal(x: np.ndarray, images: np.ndarray, level: mosaic.Level, scale: float) -> np.ndarray:
    """Evaluate x0hat (B, C, H, W) of the ideal score."""
    logits = -((x[:, None] - level.signal * images) ** 2).sum((2, 3, 4)) / (2 * level.noise**2)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return np.einsum("bn,nchw->bchw", weights / weights.sum(1, keepdims=True), images)


def denoising(change: Callable[[Any, Tensor, mosaic.Level, Tensor], Tensor]) -> type[Ideal]:
    """Make a score model whose x0hat is changed: change(model, x, level, x0hat)."""

    class Wrong(Ideal):
        calls = 0

        def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
            type(self).calls += 1
            return change(self, x, level, super().denoise(x, level, labels, scale))

    return Wrong
