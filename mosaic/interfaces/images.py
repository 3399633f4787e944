"""Training images as all that computes with them takes them: in memory, or read in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mosaic.interfaces.image_source import PASS, ImageSource, largest_block

__all__ = ["Images", "extremes_of", "image_blocks", "mean_image", "select_images", "variance_of"]

Images = Tensor | ImageSource
"""Training images (N, C, H, W): in memory, or read in pieces."""


def image_blocks(images: Images, length: int) -> Iterator[Tensor]:
    """Give images (N, C, H, W) in order, `length` at a time, from memory or read in pieces."""
    return iter(images.split(length)) if isinstance(images, Tensor) else images.blocks(length)


def select_images(images: Images, places: Tensor) -> Images:
    """Give the images at `places` (n,), int64, in that order: a copy of those in memory, a view of a source."""
    return images[places] if isinstance(images, Tensor) else images.select(places)


def extremes_of(images: Images) -> tuple[float, float]:
    """Least and greatest value; NaN if one is."""
    if isinstance(images, ImageSource):
        return images.extremes()
    low, high = images.aminmax()
    return float(low), float(high)


def mean_image(images: Images) -> Tensor:
    """Mean (C, H, W) of all images, float64, by one pass in pieces."""
    blocks = image_blocks(images, largest_block(images, PASS))
    return torch.stack([block.sum(0, dtype=torch.float64) for block in blocks]).sum(0) / len(images)


def variance_of(images: Images) -> float:
    """Unbiased variance of all values, by two passes in pieces."""
    mean = float(mean_image(images).mean())
    blocks = image_blocks(images, largest_block(images, PASS))
    squares = torch.stack([(block.double() - mean).square().sum() for block in blocks])
    return float(squares.sum()) / max(1, images.numel() - 1)
