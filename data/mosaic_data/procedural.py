"""Image sets that are computed, not read: each image follows from the options alone."""

from __future__ import annotations

import math

import torch
from pydantic import Field, field_validator
from torch import Tensor

import mosaic

__all__ = ["BlackWhite", "Shapes", "shape_coverage"]


class BlackWhite(mosaic.DataSource):
    """Two images, one all black and one all white: the smallest training set that makes mosaics.

    References: Kamb & Ganguli 2025, fig. 3.
    """

    name = "black-white"

    class Options(mosaic.DataSetOptions):
        """Size and channels of the two images."""

        size: int = Field(32, ge=1, le=4096, description="Height of the images in pixels.")
        width: int | None = Field(None, ge=1, le=4096, description="Width in pixels; as the height when not given.")
        channels: int = Field(1, ge=1, le=3, description="1 for grey, 3 for RGB.")

        @field_validator("channels")
        @classmethod
        def _grey_or_rgb(cls, channels: int) -> int:
            if channels == 2:
                raise ValueError("it is 1 for grey or 3 for RGB")
            return channels

    def read(self) -> mosaic.DataSet:
        """Make the set: images (2, channels, size, width), all -1 and all +1; labels 0 and 1."""
        values = torch.tensor([-1.0, 1.0], dtype=torch.float32, device="cpu").reshape(2, 1, 1, 1)
        width = self.options.size if self.options.width is None else self.options.width
        self.check_memory(2, (self.options.channels, self.options.size, width))
        return mosaic.DataSet(
            name=self.name,
            images=values.repeat(1, self.options.channels, self.options.size, width),
            labels=torch.tensor([0, 1], dtype=torch.int64, device="cpu"),
            classes=("black", "white"),
            origin="computed: Kamb & Ganguli 2025, fig. 3",
        )


class Shapes(mosaic.DataSource):
    """A filled circle, square or triangle of random colour, place and size on a plain background."""

    name = "shapes"

    class Options(mosaic.DataSetOptions):
        """How many images, their size, and their seed."""

        count: int = Field(1000, ge=1, le=100_000, description="Number of images.")
        size: int = Field(
            32, ge=8, le=1024, description="Height and width in pixels; shapes are as large in proportion."
        )
        seed: int = Field(0, ge=0, lt=2**63, description="Seed of shapes, colours, places and sizes.")

    def read(self) -> mosaic.DataSet:
        """Make the set: images (count, 3, size, size), range [-1, 1], with as many of each shape."""
        count, size = self.options.count, self.options.size
        self.check_memory(count, (3, size, size), count * 8 * 4 * size**2)  # about eight arrays of one channel
        generator = torch.Generator().manual_seed(self.options.seed)
        labels = torch.randperm(count, generator=generator, dtype=torch.int64, device="cpu") % 3
        radius = (5 + 7 * torch.rand(count, generator=generator, dtype=torch.float32, device="cpu")) * (size / 32)
        # Shapes stay at least a pixel away from the border, so that no edge is cut.
        place = torch.rand(count, 2, generator=generator, dtype=torch.float32, device="cpu")
        centre = (radius + 1)[:, None] + (size - 2 - 2 * radius)[:, None] * place
        background = 2 * torch.rand(count, 3, generator=generator, dtype=torch.float32, device="cpu") - 1
        # A step of 0.5 to 1.5 round a circle of length 2 leaves each channel at least 0.5 away.
        step = 0.5 + torch.rand(count, 3, generator=generator, dtype=torch.float32, device="cpu")
        colour = (background + 1 + step) % 2 - 1
        coverage = shape_coverage(labels, centre, radius, size)[:, None]
        images = torch.lerp(background[:, :, None, None], colour[:, :, None, None], coverage)
        return mosaic.DataSet(
            name=self.name,
            images=images.clamp_(-1, 1),
            labels=labels,
            classes=("circle", "square", "triangle"),
            origin="computed: circles, squares and triangles",
        )


def shape_coverage(labels: Tensor, centre: Tensor, radius: Tensor, size: int = 32) -> Tensor:
    """Compute how much of each pixel a shape covers, by its signed distance to the pixel's centre.

    Parameters
    ----------
    labels : Tensor (N,), int64
        0 circle, 1 square with half side `radius`, 2 upright equilateral triangle with circumradius `radius`.
    centre : Tensor (N, 2)
        Row and column of the centre, in pixels from the upper left corner.
    radius : Tensor (N,)
        Size in pixels.
    size : int
        Height and width of the images.

    Returns
    -------
    Tensor (N, size, size), range [0, 1]
    """
    pixels = torch.arange(size, dtype=torch.float32, device="cpu") + 0.5
    y = pixels[None, :, None] - centre[:, 0, None, None]
    x = pixels[None, None, :] - centre[:, 1, None, None]
    r = radius[:, None, None]
    circle = torch.hypot(x, y) - r
    square = torch.maximum(x.abs(), y.abs()) - r
    triangle = torch.maximum(y - r / 2, math.sqrt(3) / 2 * x.abs() - y / 2 - r / 2)
    shape = labels[:, None, None]
    distance = torch.where(shape == 0, circle, torch.where(shape == 1, square, triangle))
    return (0.5 - distance).clamp(0, 1)


@mosaic.hookimpl
def register_datasets(register: mosaic.Register) -> None:
    register(BlackWhite)
    register(Shapes)
