"""What the machines that compare windows share: engines, diagnostics, and what is known of windows."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import mosaic

__all__ = ["Windowed"]


class Windowed(mosaic.AnalyticMachine):
    """What LS and ELS share: windows, and a choice of engines to compare them."""

    class Options(mosaic.Options):
        """The engine; each machine adds the boundaries that it knows."""

        boundary: str

        engine: Literal["auto", "compiled", "torch", "reference"] = Field(
            "auto",
            description="What compares windows: the kernel compiled on this machine (float32, CPU), torch (any "
            "device), or the plain formulation that both are tested against; auto is the first that can serve.",
        )

    options: Options

    aligned: ClassVar[bool]
    """Whether a window is a candidate at its own place only."""

    @abstractmethod
    def averaging(
        self, values: Any, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give each pixel's posterior over windows, with `values` in place of pixels if they are not None."""

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give each pixel's posterior over the windows that it may be compared with."""
        return self.averaging(None, x, images, level, scale, compute)

    def covariance(self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float) -> Tensor:
        """Give d x0hat / d x: the posterior covariance of a window's centre with its pixels."""
        return mosaic.window_jacobian(
            lambda values, compute: self.averaging(values, x, images, level, scale, compute),
            images,
            level,
            self.extent(scale),
            self.options.boundary,
            profile=self.profile(scale),
        )

    @property
    def traits(self) -> mosaic.Traits:
        """A pixel of x0hat depends on the window compared."""
        return replace(
            super().traits,
            has_scale=True,
            window=self.extent,
            comparisons=self.comparisons,
        )

    @property
    def compute(self) -> mosaic.Compute:
        """The engine of the options, with blocks of the default size."""
        return mosaic.Compute(self.options.engine)

    def engine_for(self, dtype: torch.dtype) -> str:
        """Name the engine of the options; for `auto` the one that is used."""
        return mosaic.engine_of(self.options.engine, self.dataset.images, dtype)

    def extent(self, scale: float) -> int:
        """Side of a window in pixels: the scale, which `check` has found to be one."""
        return int(scale)

    def profile(self, scale: float) -> Sequence[float] | tuple[Sequence[float], Sequence[float]] | None:
        """How much the pixels of a window count along both axes, or along each; None where all count 1."""
        return None

    def border(self, scale: float) -> int | None:
        """How near to the border candidates hang over alike, in pixels; None for all windows that hang over."""
        return None

    def comparisons(self, scale: float) -> int:
        """Count the windows that the pixels of one sample are compared with."""
        how: dict[str, Any] = {"aligned": self.aligned, "border": self.border(scale)}
        k, boundary = self.extent(scale), self.options.boundary
        axes = (mosaic.window_axis(size, k, boundary, **how) for size in self.dataset.shape[1:])
        return len(self.dataset) * math.prod(axis.pairs for axis in axes)

    def sources(
        self, posterior: mosaic.Posterior, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> mosaic.Source:
        """Give the best windows; of equal ones the first."""
        return self.resolved(posterior, images, scale)

    def resolved(
        self, posterior: mosaic.Posterior, images: mosaic.Images, scale: float, weights: Tensor | None = None
    ) -> mosaic.Source:
        """Give the best windows of a posterior over windows with these weights, with ties resolved."""
        wraps = self.options.boundary == "circular"
        return mosaic.resolve_window_ties(
            posterior, images, self.extent(scale), wraps, self.aligned, weights, self.border(scale)
        )
