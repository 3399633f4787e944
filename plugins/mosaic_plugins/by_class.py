"""Score models made of statistics of training images: of all, or of those of a sample's class."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

import mosaic

__all__ = ["ByClass"]


READ = 2**20  # values of images that a block has at most, beside those that are counted with what is kept


class ByClass(mosaic.ScoreModel):
    """A score model that is fitted to all images, or to those of one class when a sample has this class."""

    def __init__(self, options: Any, dataset: mosaic.DataSet) -> None:
        super().__init__(options, dataset)
        self._fits: dict[int, Any] = {}

    @property
    def traits(self) -> mosaic.Traits:
        """A sample with a label has the statistics of its class."""
        return mosaic.Traits(
            is_conditional=True,
            memory=lambda batch, scale, dtype, labels: mosaic.Memory(
                self.kept_bytes(batch, labels), self.block_bytes(), READ
            ),
        )

    @abstractmethod
    def fit(self, images: mosaic.Images, labels: Tensor | None) -> Any:
        """Compute the statistics of images (N, C, H, W) with labels (N,) that `apply` needs."""

    @abstractmethod
    def apply(self, fitted: Any, x: Tensor, level: mosaic.Level) -> Tensor:
        """Give x0hat (B, D), of flat x (B, D), float64; D = C H W."""

    @abstractmethod
    def kept_bytes(self, batch: int, labels: tuple[int, ...]) -> int:
        """Bytes at most of all that is kept and computed for samples with these labels, each once."""

    def block_bytes(self) -> int:
        """Bytes at most that each block of images takes, if blocks are worked on by several threads; else 0."""
        return 0

    def group_sizes(self, labels: tuple[int, ...]) -> list[int]:
        """Number of images of each label, all for -1: what the fits that are kept are made of."""
        own = self.dataset.labels
        return [len(self.dataset) if label < 0 or own is None else int((own == label).sum()) for label in labels]

    def fitted(self, places: Tensor | None) -> Any:
        """Statistics of the images at these places, or of all; computed at the first call and kept."""
        key = -1 if places is None else int(places[0])  # places are all of one class, so the first one identifies it
        if key not in self._fits:
            data = self.dataset if places is None else self.dataset.select(places)
            self._fits[key] = self.fit(data.images, data.labels)
        return self._fits[key]

    @mosaic.standard_torch()
    @torch.no_grad()
    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give x0hat (B, C, H, W)."""
        result = torch.empty_like(x)
        for members, places in self.dataset.class_groups(labels):
            flat = x[members].flatten(1).double()
            denoised = self.apply(self.fitted(places), flat, level)
            result[members] = denoised.to(x.dtype).reshape(-1, *x.shape[1:])
        return result
