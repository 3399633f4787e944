"""A third-party score machine: ELS for networks that commute with turns and mirrors, too.

A network whose layers commute with a group of turns and mirrors, beside translations, has at its optimum the score of
the training set with every patch in all orientations of the group, by the argument of Kamb & Ganguli (2025), app. B.1,
for any group that acts on images by moving pixels.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

import mosaic

__all__ = ["DihedralELS", "oriented"]

# An orientation: mirrored or not, then turned by so many quarters.
GROUPS = {
    "rotations": [(False, quarters) for quarters in range(4)],
    "mirrors": [(False, 0), (True, 0)],
    "dihedral": [(mirrored, quarters) for mirrored in (False, True) for quarters in range(4)],
}


def oriented(images: Tensor, orientation: tuple[bool, int]) -> Tensor:
    """Mirror images (..., H, W) left to right, if so, then turn them counter-clockwise by quarters."""
    mirrored, quarters = orientation
    return torch.rot90(images.flip(-1) if mirrored else images, quarters, (-2, -1))


class DihedralELS(mosaic.AnalyticMachine):
    """Equivariant local score whose candidates are training patches in all orientations of a group."""

    name = "els-dihedral"
    has_scale = True

    class Options(mosaic.Options):
        """Options of the machine."""

        group: Literal["rotations", "mirrors", "dihedral"] = Field(
            "dihedral", description="Orientations: four turns, two mirror images, or all eight."
        )
        boundary: Literal["zeros", "circular"] = Field("zeros", description="Boundary, as for els.")

    options: Options

    def orientations(self) -> list[tuple[bool, int]]:
        """List the orientations of the group; the first changes nothing."""
        return GROUPS[self.options.group]

    def posterior(self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Posterior:
        """Give each pixel's posterior over the windows of all orientations: those of each, merged."""
        compute = replace(self.compute, engine="auto")
        boundary = self.options.boundary
        turned = [oriented(images, one).contiguous() for one in self.orientations()]
        parts = [mosaic.equivariant_windows(x, some, level, scale, boundary, compute=compute) for some in turned]
        for number, part in enumerate(parts):
            if part.source is not None:  # count the images of each orientation on from those of the one before
                part.source = part.source + number * images.shape[0] * images.shape[2] * images.shape[3]
        return reduce(mosaic.Posterior.merge, parts)

    def sources(self, posterior: mosaic.Posterior, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Source:
        """Say where the best windows lie in the training images as they are; equal ones are not counted."""
        image, row, column = posterior.candidate()
        count, _, height, width = images.shape
        places = torch.arange(height * width, device=images.device).view(height, width)
        found = [torch.zeros_like(image) for _ in range(2)]
        for number, one in enumerate(self.orientations()):
            mine = image // count == number
            place = oriented(places, one)[row[mine], column[mine]]
            found[0][mine], found[1][mine] = place // width, place % width
        return mosaic.Source(image % count, found[0], found[1], torch.zeros_like(image))

    @property
    def equivariant(self) -> bool:
        """As ELS: unless pixels at the border have candidates of their own."""
        return self.options.boundary == "circular"

    def local(self, scale: int) -> int | None:
        """The windows compared."""
        return scale

    def check(self, levels: tuple[mosaic.Level, ...], scales: tuple[int, ...], labels: tuple[int, ...]) -> None:
        """Refuse scales that are no window sizes, and turns of images that are not square."""
        super().check(levels, scales, labels)
        _, height, width = self.dataset.shape
        if self.options.group != "mirrors" and height != width:
            raise mosaic.UsageError(
                f"Images of {height} x {width} pixels cannot be turned by a quarter; use -o score.group=mirrors."
            )

    def engine(self, dtype: torch.dtype) -> str:
        """The engine that windows are compared by."""
        return mosaic.engine_of("auto", self.dataset.images, dtype)

    def comparisons(self, scale: int) -> int:
        """Those of ELS, once for each orientation."""
        _, height, width = self.dataset.shape
        rows, cols = (mosaic.window_axis(size, scale, self.options.boundary) for size in (height, width))
        return len(self.orientations()) * len(self.dataset) * rows.pairs * cols.pairs


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    """Register the machine."""
    register(DihedralELS)
