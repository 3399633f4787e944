"""A score model that spoils what it is lent."""

from __future__ import annotations

import torch

import mosaic


class Careless(mosaic.ScoreModel):
    """The mean image; spoils what its option names."""

    name = "careless"
    spoils: str = ""

    def denoise(self, x, level, labels=None, scale=0):  # type: ignore[no-untyped-def, override]
        if self.spoils == "none":
            return None
        {"x": x, "images": self.dataset.images, "": torch.zeros(1)}[self.spoils].add_(1e-3)
        return self.dataset.images.mean(0).to(x).expand_as(x).clone()
