"""Soft windows: the equivariant local machine with a smooth profile, such as a Gaussian, in place of a box."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.machines import ELS

__all__ = ["SoftELS", "profile_area", "soft_profile"]

CHOSEN_ON: dict[str, Any] = {"chosen_on": "networks of MNIST and FashionMNIST"}  # by their final images

FARTHEST = 1e9  # widths from the centre, beyond which no exponent leaves a weight


def soft_profile(width: float, radius: int, exponent: float = 2.0) -> list[float]:
    """Weights exp(-|u / w|^e / 2) of the pixels at u = -radius .. radius from the centre.

    `width` is w, in pixels; the `exponent` e is that of a Gaussian by default, and larger ones approach a box. All
    weights are positive: those that are no numbers of float64 are its smallest.
    """
    places = (min(abs(u / width), FARTHEST) for u in range(-radius, radius + 1))
    # Of the square, so that a Gaussian's weights are rounded once.
    weights = (math.exp(-((u * u) ** (exponent / 2)) / 2) for u in places)
    return [max(weight, sys.float_info.min) for weight in weights]


def profile_area(exponent: float = 2.0) -> float:
    """Area 2 2^(1/e) Gamma(1 + 1/e) of a profile of width 1; sqrt(2 pi) of a Gaussian, exactly rounded."""
    own, gaussian = (2 ** (1 / e) * math.gamma(1 + 1 / e) for e in (exponent, 2.0))
    return math.sqrt(2 * math.pi) * (own / gaussian)


class SoftELS(ELS):
    """ELS with soft windows: the farther a pixel is from the centre of its window, the less it counts.

    logit(c) = - sum_u g(u) (x_(p+u) - a c_u)^2 / (2 s^2 T),  g(u) = exp(-|u|^2 / 2 w^2), cut off at `cutoff` w along
    each axis, T the `temperature`. The scale is k = sqrt(2 pi) w, in pixels: the side of the hard window that counts as
    much in all. It may be any positive number, so that scales made for ELS can be used, and calibration searches a
    continuum.

    With boundary `zeros`, pixels nearer to the border than `border` w, and than `border_limit` pixels, are compared
    only with those just as near, as in ELS. The windows of all others hold zeros beyond the border, as a network sees
    there, and are compared with each other. Where windows were compared only if they hang over alike as far as they
    are cut off (`border` and `border_limit` as large as can be), pixels many widths from the border would lose most of
    their candidates, for the sake of what hardly counts.

    The differences of all pixels but the centre count less than in a hard window. A temperature below 1 gives back some
    of it. Its default, and that of `border_limit`, were chosen by final images of networks of MNIST and FashionMNIST;
    boards of these data flatter them. At T = 1 the theory's own flow has less contrast than the network's.

    x0hat is continuous in the scale but where cut-off or border move by a pixel.

    The paper's: the machine whose windows are hard (Kamb & Ganguli 2025, eqs. 9-10 and app. B.2).
    The published code's: there is none of it.
    Ours: the soft window, its cut-off and what it does at the border. It is one choice of the query precisions of
    Niedoba, Zwartsenberg & Wood 2026 (arXiv 2605.24192), of which we had the abstract only.
    """

    name = "soft-els"

    class Options(ELS.Options):
        """The windows' cut-off and border, beside the options of ELS."""

        cutoff: float = Field(
            2.5, ge=0.5, le=10, description="Where windows are cut off along each axis, in widths w of their profile."
        )
        border: float = Field(
            1.0,
            ge=0,
            le=10,
            description="With boundary zeros, how near to the border pixels are compared only with those just as near, "
            "in widths w, at most as far as windows reach; the windows of the others hold zeros beyond it.",
        )
        border_limit: int = Field(
            5, ge=0, description="The most pixels that `border` comes to, at any width.", json_schema_extra=CHOSEN_ON
        )
        temperature: float = Field(
            0.85,
            gt=0,
            le=1e6,
            description="T: the variance of the noise is taken to be T s^2 where candidates compete.",
            json_schema_extra=CHOSEN_ON,
        )

        def unused(self) -> Mapping[str, str]:
            """A border, where windows wrap."""
            names = ("border", "border_limit") if self.boundary != "zeros" else ()
            return {**super().unused(), **dict.fromkeys(names, f"boundary={self.boundary}")}

    options: Options

    exponent: ClassVar[float] = 2.0
    """That of the profile."""

    @property
    def border_widths(self) -> float:
        """The option `border`."""
        return self.options.border

    def width(self, scale: float) -> float:
        """Width w of the profile whose area is the scale."""
        return scale / profile_area(self.exponent)

    @property
    def traits(self) -> mosaic.Traits:
        """As ELS with windows of their extent, and a scale that is continuous."""
        return replace(super().traits, has_continuous_scale=True)

    def extent(self, scale: float) -> int:
        """Side of a window in pixels, cut off.

        It reaches at most across the image; where windows wrap, not so far that it would meet itself.
        """
        side = min(self.dataset.shape[1:])
        farthest = max(self.dataset.shape[1:]) - 1 if self.options.boundary == "zeros" else (side - 1) // 2
        return 2 * min(max(1, round(self.options.cutoff * self.width(scale))), farthest) + 1

    def profile(self, scale: float) -> Sequence[float] | tuple[Sequence[float], Sequence[float]] | None:
        """Weights of a window's pixels along each axis."""
        return soft_profile(self.width(scale), self.extent(scale) // 2, self.exponent)

    def border(self, scale: float) -> int | None:
        """How near to the border pixels are compared with those just as near, in pixels; None where windows wrap."""
        if self.options.boundary != "zeros":
            return None
        near = round(self.border_widths * self.width(scale))
        return min(near, self.options.border_limit, self.extent(scale) // 2)

    def warmed(self, level: mosaic.Level) -> mosaic.Level:
        """Give the level whose noise is that of the temperature."""
        return mosaic.Level(level.signal, level.noise * self.options.temperature**0.5)

    def estimated(self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float) -> mosaic.Estimate:
        """Estimate x0hat of x by candidates from images, at the temperature."""
        return super().estimated(x, images, self.warmed(level), scale)

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give each pixel's posterior over the windows that it may be compared with, at the temperature."""
        return super().posterior(x, images, self.warmed(level), scale, compute)

    def covariance(self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float) -> Tensor:
        """Give d x0hat / d x, as of hard windows, at the temperature."""
        return super().covariance(x, images, self.warmed(level), scale)

    def block_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Bytes that a thread needs at most: as ELS with windows of the same extent."""
        return super().block_bytes(batch, self.extent(scale), dtype)

    def held_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Bytes at most that all threads share: the weighted rows of x."""
        k, (channels, height, width) = self.extent(scale), self.dataset.shape
        return super().held_bytes(batch, scale, dtype) + 8 * batch * channels * height * k * (width + k + 8)

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse a scale that is not positive, and an option that would not be used."""
        for scale in scales:
            if not 0 < scale < math.inf:
                raise mosaic.UsageError(f"Scale {scale} is not valid: it must be a finite number above 0.")
        return super().check(levels, tuple(map(self.extent, scales)), labels)


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(SoftELS)
