"""Pixels to the range and size of a training set."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Resize", "resample", "resampled_shape", "resize"]

CHUNK = 4096
"""Images resized at a time, so that the intermediate arrays stay small compared with the result."""

Resize = Literal["fit", "crop", "pad"]
"""How an image of another shape becomes one of the shape wanted: stretched, cut off, or between black borders."""


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
        unit = resample(pixels[start : start + CHUNK].float() / 255, (size, size), "fit")
        # The weights of a pixel sum to 1 only up to rounding.
        resized[start : start + CHUNK] = unit.clamp_(0, 1).mul_(2).sub_(1)
    return resized


def resampled_shape(shape: tuple[int, int], size: tuple[int, int], how: Resize) -> tuple[int, int]:
    """Height and width to which an image (H, W) is scaled, before it is cropped or padded to `size`."""
    ratios = [wanted / given for wanted, given in zip(size, shape, strict=True)]
    if how == "fit" or ratios[0] == ratios[1]:
        return size
    ratio = max(ratios) if how == "crop" else min(ratios)
    height, width = (max(1, round(ratio * given)) for given in shape)
    return height, width


def resample(images: Tensor, size: tuple[int, int], how: Resize) -> Tensor:
    """Resize bilinearly with antialiasing.

    Parameters
    ----------
    images : Tensor (N, C, H, W), floating point
        Black is 0.
    size : (int, int)
        Height and width wanted.
    how : {"fit", "crop", "pad"}
        fit: height and width are scaled each by its own factor. crop: both by the larger one, and what is too much is
        cut off. pad: both by the smaller one, and what lacks is black. The centre stays the centre, to within half a
        pixel.

    Returns
    -------
    Tensor (N, C, *size)
        Images that are of the size they are scaled to are not resampled.
    """
    scaled = resampled_shape((images.shape[2], images.shape[3]), size, how)
    if images.shape[2:] != scaled:
        images = functional.interpolate(images, scaled, mode="bilinear", align_corners=False, antialias=True)
    # Before each axis, the last one first; a negative margin cuts off.
    lacking = [wanted - given for wanted, given in zip(size, scaled, strict=True)]
    margins = [margin for lack in reversed(lacking) for margin in (lack // 2, lack - lack // 2)]
    return functional.pad(images, margins) if any(margins) else images
