"""The analytic score machines of Kamb & Ganguli (ICML 2025): one posterior mean, four sets of candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

import mosaic

__all__ = ["ELS", "ES", "IS", "LS"]


class IS(mosaic.AnalyticMachine):
    """Ideal score: whole images against whole training images; memorises.

    References: Kamb & Ganguli 2025, eqs. 3-4.
    """

    name = "is"

    def posterior(self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Posterior:
        """Give the posterior over the training images; `scale` is ignored."""
        return mosaic.whole_images(x, images, level, compute=self.compute)

    def sources(self, posterior: mosaic.Posterior, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Source:
        """Give the nearest training image; of equal ones the first."""
        return mosaic.resolve_image_ties(posterior, images, translates=False)

    def comparisons(self, scale: int) -> int:
        """N."""
        return len(self.dataset)


class ES(mosaic.AnalyticMachine):
    """Equivariant score: whole images against all circular translates of the training images.

    References: Kamb & Ganguli 2025, eqs. 5-6.
    """

    name = "es"

    @property
    def equivariant(self) -> bool:
        """All translates are candidates."""
        return True

    def posterior(self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Posterior:
        """Give the posterior over the translates; `scale` is ignored."""
        return mosaic.translated_images(x, images, level, compute=self.compute)

    def sources(self, posterior: mosaic.Posterior, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Source:
        """Give the nearest translate; of equal ones the first."""
        return mosaic.resolve_image_ties(posterior, images, translates=True)

    def comparisons(self, scale: int) -> int:
        """N H W."""
        _, height, width = self.dataset.shape
        return len(self.dataset) * height * width


class Windowed(mosaic.AnalyticMachine):
    """What LS and ELS share: windows, and a choice of engines to compare them."""

    has_scale = True

    class Options(mosaic.Options):
        """Options of both."""

        boundary: str

        engine: Literal["auto", "compiled", "torch", "reference"] = Field(
            "auto",
            description="What compares windows: the kernel compiled on this machine (float32, CPU), torch (any "
            "device), or the plain formulation that both are tested against; auto is the first that can serve.",
        )

    options: Options

    def engine(self, dtype: torch.dtype) -> str:
        """The engine that runs in `dtype` use on this data set's device."""
        return mosaic.engine_of(self.options.engine, self.dataset.images, dtype)

    aligned: ClassVar[bool]
    """Whether a window is a candidate at its own place only."""

    def sources(self, posterior: mosaic.Posterior, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Source:
        """Give the best windows; of equal ones the first."""
        return self.resolved(posterior, images, scale)

    def resolved(
        self, posterior: mosaic.Posterior, images: Tensor, scale: int, weights: Tensor | None = None
    ) -> mosaic.Source:
        """Give the best windows of a posterior over windows with these weights, with ties resolved."""
        wraps = self.options.boundary == "circular"
        return mosaic.resolve_window_ties(posterior, images, scale, wraps, self.aligned, weights)

    def local(self, scale: int) -> int | None:
        """The windows compared."""
        return scale

    def computing(self) -> mosaic.Compute:
        """The machine's way to compute, with its own choice of engine."""
        return replace(self.compute, engine=self.options.engine)


class LS(Windowed):
    """Local score: each pixel's k x k window against the training windows at the same place.

    References: Kamb & Ganguli 2025, eqs. 7-8.
    """

    name = "ls"
    aligned = True

    class Options(Windowed.Options):
        """Options of the local score machine."""

        boundary: Literal["zeros", "circular"] = Field(
            "zeros", description="What windows see beyond the border: nothing, or the other side."
        )

    options: Options

    def posterior(self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Posterior:
        """Give each pixel's posterior over the windows at its place."""
        return mosaic.aligned_windows(x, images, level, scale, self.options.boundary, compute=self.computing())

    def comparisons(self, scale: int) -> int:
        """N H W."""
        _, height, width = self.dataset.shape
        return len(self.dataset) * height * width


class ELS(Windowed):
    """Equivariant local score: each pixel's k x k window against training windows from everywhere.

    References: Kamb & Ganguli 2025, eqs. 9-10; boundary `zeros`: sec. 3.4 and app. B.2.
    """

    name = "els"
    aligned = False

    class Options(Windowed.Options):
        """Options of the equivariant local score machine."""

        boundary: Literal["zeros", "circular", "valid"] = Field(
            "zeros",
            description="zeros: candidates hang over the border as the pixel's window does (the paper's "
            "boundary-broken machine); circular: windows wrap; valid: the noisy image wraps, candidates lie "
            "wholly inside the training images.",
        )

    options: Options

    @property
    def equivariant(self) -> bool:
        """Unless pixels at the border have candidates of their own."""
        return self.options.boundary != "zeros"

    def posterior(self, x: Tensor, images: Tensor, level: mosaic.Level, scale: int) -> mosaic.Posterior:
        """Give each pixel's posterior over the windows it may be compared with."""
        return mosaic.equivariant_windows(x, images, level, scale, self.options.boundary, compute=self.computing())

    def check(self, levels: tuple[mosaic.Level, ...], scales: tuple[int, ...], labels: tuple[int, ...]) -> None:
        """Refuse scales that leave a pixel without candidates."""
        super().check(levels, scales, labels)
        _, height, width = self.dataset.shape
        if self.options.boundary == "valid" and max(scales) > min(height, width):
            raise mosaic.UsageError(
                f"Scale {max(scales)} exceeds the image ({height} x {width}): with boundary 'valid' no window of "
                f"that size lies inside a training image; use scales up to {min(height, width)}, or another boundary."
            )

    def comparisons(self, scale: int) -> int:
        """N times the pairs of a pixel and a window it meets in one training image."""
        _, height, width = self.dataset.shape
        rows, cols = (mosaic.window_axis(size, scale, self.options.boundary) for size in (height, width))
        return len(self.dataset) * rows.pairs * cols.pairs


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    """Register the four machines."""
    for machine in (IS, ES, LS, ELS):
        register(machine)
