"""Images whose two halves must agree, though no window sees both: what a local machine cannot know.

Our own, to test what Finn, Keller, Theodosis & Ba (2025) say of attention: that it makes distant parts agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

import mosaic

__all__ = ["OBJECTS", "PALETTE", "Pairs", "PairsShape", "Templates"]

SIDE = 3  # of an object, in pixels

# A part of an image shows an object (or nothing) if it differs from this by less than this share of an object's energy.
TOLERANCE = 0.25

PALETTE = {
    "red": (1.0, -1.0, -1.0),
    "green": (-1.0, 1.0, -1.0),
    "blue": (-1.0, -1.0, 1.0),
    "yellow": (1.0, 1.0, -1.0),
    "magenta": (1.0, -1.0, 1.0),
    "cyan": (-1.0, 1.0, 1.0),
}
OBJECTS = {
    "square": ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    "plus": ((0, 1, 0), (1, 1, 1), (0, 1, 0)),
    "cross": ((1, 0, 1), (0, 1, 0), (1, 0, 1)),
}


@dataclass(frozen=True)
class Templates:
    """The objects that half an image may show, on black: (K, C, 3, 3), range [-1, 1]."""

    objects: Tensor

    def shown(self, images: Tensor) -> Tensor:
        """Say which object (B, 2), int64, the left and the right half of images (B, C, H, W) show.

        A half is compared with black, and with every object at every place. It shows the one from which it differs
        least, if the difference is small enough; otherwise it is unknown.
        """
        middle = images.shape[3] // 2
        halves = (images[..., :middle], images[..., middle:])
        return torch.stack([self._recognised(half) for half in halves], 1)

    def _recognised(self, parts: Tensor) -> Tensor:
        """Which object parts (B, C, H, W) show."""
        # Black becomes 0, in the parts and in the objects: |part - object|^2 is the sum of both squares minus twice the
        # product, and the product is a convolution.
        light, objects = parts.cpu().double() + 1, self.objects.double() + 1
        energy, total = objects.square().sum((1, 2, 3)), light.square().sum((1, 2, 3))
        products = torch.conv2d(light, objects).flatten(2).amax(2)
        nearest, kind = ((total[:, None] - 2 * products + energy) / energy).min(1)
        black = total / energy.min()
        shown = torch.where(nearest < TOLERANCE, kind, mosaic.Rule.UNKNOWN)
        return torch.where((black < TOLERANCE) & (black < nearest), mosaic.Rule.EMPTY, shown).to(parts.device)


class PairsOptions(mosaic.DataSetOptions):
    """Options of both sets; `limit` takes its subset of the `count` images."""

    count: int = Field(500, ge=1, le=100_000, description="Number of images.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of objects and places.")
    size: int = Field(16, ge=10, le=128, description="Width of the images in pixels, even; and their height.")
    height: int | None = Field(
        None,
        ge=SIDE,
        le=128,
        description="Height of the images in pixels, where it is not size. In low images every window sees the "
        "upper or the lower border, and knows its row.",
    )
    rows: int = Field(
        3,
        ge=1,
        description="Rows in which an object may begin, from the top; at most height - 2. The fewer, the better a "
        "local machine that sees the border knows where objects are, and makes them whole.",
    )

    @field_validator("size")
    @classmethod
    def _even(cls, size: int) -> int:
        if size % 2:
            raise ValueError("it must be even")
        return size

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.height or self.size, self.size


def draw_pairs(objects: Tensor, options: PairsOptions) -> tuple[Tensor, Tensor]:
    """Draw images (count, C, height, width) of two equal objects, near the left and the right edge, and which (count,).

    The left one begins in column 0 or 1, the right one ends in the last column or the one before it, each in one of
    the first rows. Windows of up to width - 7 pixels never see both, but those near the corners see where they are.
    There are 4 rows^2 ways to place the two. Images of a kind are all different until every way is used; then they
    repeat.
    """
    generator = torch.Generator().manual_seed(options.seed)
    count, (height, width) = options.count, options.sides
    kinds = torch.randperm(count, generator=generator, dtype=torch.int64, device="cpu") % len(objects)
    rows = min(options.rows, height - SIDE + 1)
    ways = (rows, rows, 2, 2)
    images = torch.full((count, objects.shape[1], height, width), -1.0, dtype=torch.float32, device="cpu")
    for kind, pixels in enumerate(objects):
        members = torch.nonzero(kinds == kind)[:, 0].tolist()
        order = torch.randperm(math.prod(ways), generator=generator, dtype=torch.int64, device="cpu").tolist()
        for number, n in enumerate(members):
            left, right, begin, end = np.unravel_index(order[number % len(order)], ways)
            for row, column in ((left, begin), (right, width - SIDE - end)):
                images[n, :, row : row + SIDE, column : column + SIDE] = pixels
    return images, kinds


class Pairs(mosaic.DataSource):
    """Two squares of the same colour, far apart on black: no window of up to size - 7 pixels sees both."""

    name = "pairs"

    class Options(PairsOptions):
        """Those of both sets, and how many colours of the palette to use, from its first one on."""

        colours: int = Field(3, ge=2, le=len(PALETTE), description="Number of colours.")

    options: Options

    def read(self) -> mosaic.DataSet:
        """Make the set: images (count, 3, height, width), range [-1, 1], as many of each colour; labels: colours."""
        names = tuple(PALETTE)[: self.options.colours]
        colours = torch.tensor([PALETTE[name] for name in names], dtype=torch.float32, device="cpu")
        objects = colours[:, :, None, None].expand(-1, -1, SIDE, SIDE)
        self.check_memory(self.options.count, (3, *self.options.sides))
        return _data_set(self.name, objects, names, self.options)


class PairsShape(mosaic.DataSource):
    """Two white objects of the same shape, far apart on black: no window of up to size - 7 pixels sees both."""

    name = "pairs-shape"

    class Options(PairsOptions):
        """Those of both sets; all shapes are always used."""

    options: Options

    def read(self) -> mosaic.DataSet:
        """Make the set: images (count, 1, height, width), range [-1, 1], with as many of each shape; labels: shapes."""
        objects = torch.tensor(list(OBJECTS.values()), dtype=torch.float32, device="cpu")[:, None] * 2 - 1
        self.check_memory(self.options.count, (1, *self.options.sides))
        return _data_set(self.name, objects, tuple(OBJECTS), self.options)


def _data_set(name: str, objects: Tensor, classes: tuple[str, ...], options: PairsOptions) -> mosaic.DataSet:
    images, kinds = draw_pairs(objects, options)
    return mosaic.DataSet(
        name=name,
        images=images,
        labels=kinds,
        classes=classes,
        rule=mosaic.Rule(Templates(objects.clone()).shown, classes),
        origin="computed: two objects that agree",
    )


@mosaic.hookimpl
def register_datasets(register: mosaic.Register) -> None:
    register(Pairs)
    register(PairsShape)
