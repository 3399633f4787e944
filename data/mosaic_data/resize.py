"""Pixels of 0 to 255 to the range and size of a training set."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["resize"]

CHUNK = 4096
"""Images resized at a time, so that the intermediate arrays stay small compared with the result."""


def resize(pixels: Tensor, size: int) -> Tensor:
    """Resize bilinearly with antialiasing, then map v to v / 127.5 - 1.

    Parameters
    ----------
    pixels : Tensor (N, C, H, W), uint8
        Images.
    size : int
        Height and width wanted.

    Returns
    -------
    Tensor (N, C, size, size), float32, range [-1, 1]
        A black pixel among black ones is exactly -1. Images of that size already are not resampled.

    References: Kamb & Ganguli 2025, released code (`transforms.Resize`, which rounds to 1/255).
    """
    resized = torch.empty(*pixels.shape[:2], size, size, dtype=torch.float32, device="cpu")
    for start in range(0, len(pixels), CHUNK):
        unit = pixels[start : start + CHUNK].float() / 255
        if unit.shape[2:] != (size, size):
            unit = functional.interpolate(unit, (size, size), mode="bilinear", align_corners=False, antialias=True)
        # The weights of a pixel sum to 1 only up to rounding.
        resized[start : start + CHUNK] = unit.clamp_(0, 1).mul_(2).sub_(1)
    return resized
