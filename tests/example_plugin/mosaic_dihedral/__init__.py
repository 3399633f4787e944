"""A third-party score machine: ELS for networks that commute with turns and mirrors, too.

A network whose layers commute with a group of turns and mirrors, beside translations, has at its optimum the score of
the training set with every patch in all orientations of the group, by the argument of Kamb & Ganguli (2025), app. B.1,
for any group that acts on images by moving pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    class Options(mosaic.Options):
        """Options of the machine."""

        group: Literal["rotations", "mirrors", "dihedral"] = Field(
            "dihedral", description="Orientations: four turns, two mirror images, or all eight."
        )
        boundary: Literal["zeros", "circular"] = Field("zeros", description="Boundary, as for els.")

    options: Options

    @property
    def traits(self) -> mosaic.Traits:
        """As those of ELS: it is equivariant unless pixels at the border have candidates of their own."""
        return replace(
            super().traits,
            has_scale=True,
            is_equivariant=self.options.boundary == "circular",
            window=lambda scale: scale,
            comparisons=self.comparisons,
        )

    def engine_for(self, dtype: torch.dtype) -> str:
        """Name the engine that serves; windows may be compared by any."""
        return mosaic.engine_of("auto", self.dataset.images, dtype)

    def comparisons(self, scale: float) -> int:
        """Count those of ELS, once for each orientation."""
        _, height, width = self.dataset.shape
        rows, cols = (mosaic.window_axis(size, scale, self.options.boundary) for size in (height, width))
        return len(self.orientations()) * len(self.dataset) * rows.pairs * cols.pairs

    def orientations(self) -> list[tuple[bool, int]]:
        """List the orientations of the group; the first changes nothing."""
        return GROUPS[self.options.group]

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give each pixel's posterior over the windows of all orientations: those of each, merged."""
        boundary, parts = self.options.boundary, []
        for number, orientation in enumerate(self.orientations()):
            mirrored, quarters = orientation
            turned = mosaic.Move(flip=mirrored, turns=quarters).of(images)
            part = mosaic.equivariant_local_posterior(x, turned, level, scale, boundary, compute=compute)
            if part.source is not None:  # number the images of each orientation after those of the one before
                part.source = part.source + number * images.shape[0] * images.shape[2] * images.shape[3]
            parts.append(part)
        return reduce(mosaic.Posterior.merge, parts)

    def sources(
        self, posterior: mosaic.Posterior, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> mosaic.Source:
        """Give the best windows' places in the training images as they are; equal ones are not counted."""
        image, turned_row, turned_column = posterior.candidate()
        count, _, height, width = images.shape
        pixels = torch.arange(height * width, device=images.device).view(height, width)
        row, column = torch.zeros_like(image), torch.zeros_like(image)
        for number, orientation in enumerate(self.orientations()):
            mine = image // count == number
            pixel = oriented(pixels, orientation)[turned_row[mine], turned_column[mine]]
            row[mine], column[mine] = pixel // width, pixel % width
        return mosaic.Source(image % count, row, column, torch.zeros_like(image))

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse scales that are not window sizes, and turns of images that are not square."""
        notes = super().check(levels, scales, labels)
        _, height, width = self.dataset.shape
        if self.options.group != "mirrors" and height != width:
            raise mosaic.UsageError(
                f"Images of {height} x {width} pixels cannot be turned by a quarter; use `score.group=mirrors`."
            )
        return notes


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    """Register the machine."""
    register(DihedralELS)
