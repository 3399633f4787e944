"""The analytic score machines of Kamb & Ganguli (ICML 2025): one posterior mean, four sets of candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.adaptive import Adaptive
from mosaic_plugins.references import KAMB
from mosaic_plugins.windowed import Windowed

__all__ = ["ELS", "ES", "IS", "LS", "EquivariantWindows"]


class IS(mosaic.AnalyticMachine):
    """Ideal score: whole images against whole training images; memorises.

    References: Kamb & Ganguli 2025, eqs. 3-4.

    The paper's: all of it.
    The published code's: agrees to 3e-6 with its numbers (tests/plugins/test_machines.py).
    Ours: the attribution.
    """

    name = "is"
    references = (KAMB,)

    @property
    def traits(self) -> mosaic.Traits:
        """Each sample is compared with N images."""
        return replace(super().traits, comparisons=lambda scale: len(self.dataset))

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give the posterior over the training images; `scale` is ignored."""
        return mosaic.ideal_posterior(x, images, level, compute=compute)

    def sources(
        self, posterior: mosaic.Posterior, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> mosaic.Source:
        """Give the nearest training image; of equal ones the first."""
        return mosaic.resolve_image_ties(posterior, images, translates=False)

    def covariance(self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float) -> Tensor:
        """Give d x0hat / d x: the posterior covariance of the training images."""
        return mosaic.ideal_jacobian(x, images, level)


class ES(mosaic.AnalyticMachine):
    """Equivariant score: whole images against all circular translates of the training images.

    References: Kamb & Ganguli 2025, eqs. 5-6.

    The paper's: all of it.
    The published code's: not compared.
    Ours: the attribution.
    """

    name = "es"
    references = (KAMB,)

    @property
    def traits(self) -> mosaic.Traits:
        """Equivariant; each sample is compared with N H W translates."""
        return replace(
            super().traits,
            is_equivariant=True,
            comparisons=lambda scale: len(self.dataset) * math.prod(self.dataset.shape[1:]),
        )

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give the posterior over the translates; `scale` is ignored."""
        return mosaic.equivariant_posterior(x, images, level, compute=compute)

    def sources(
        self, posterior: mosaic.Posterior, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> mosaic.Source:
        """Give the nearest translate; of equal ones the first."""
        return mosaic.resolve_image_ties(posterior, images, translates=True)


class LS(Windowed):
    """Local score: each pixel's k x k window against the training windows at the same place.

    References: Kamb & Ganguli 2025, eqs. 7-8.

    The paper's: all of it.
    The published code's: agrees to 3e-6 with its numbers for boundary `zeros` (tests/plugins/test_machines.py).
    Ours: boundary `circular`; the attribution.
    """

    name = "ls"
    references = (KAMB,)
    aligned = True

    class Options(Windowed.Options):
        """Not `valid`: at the place of a pixel near the border, no window lies wholly inside the image."""

        boundary: Literal["zeros", "circular"] = Field(
            "zeros", description="What windows see beyond the border: nothing, or the other side."
        )

    options: Options

    def averaging(
        self, values: Any, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give each pixel's posterior over the windows at its place."""
        k, boundary, profile = self.extent(scale), self.options.boundary, self.profile(scale)
        return mosaic.local_posterior(x, images, level, k, boundary, values=values, profile=profile, compute=compute)


class EquivariantWindows(Windowed):
    """What ELS and the machines that build on it share: training windows from everywhere."""

    aligned = False

    class Options(Windowed.Options):
        """With `valid`, k may not exceed the sides of the image."""

        boundary: Literal["zeros", "circular", "valid"] = Field(
            "zeros",
            description="zeros: candidates hang over the border as the pixel's window does (the paper's "
            "boundary-broken machine); circular: windows wrap; valid: the noisy image wraps, candidates lie "
            "wholly inside the training images.",
        )

    options: Options

    @property
    def traits(self) -> mosaic.Traits:
        """Equivariant, except with `zeros`, where pixels at the border have their own candidates."""
        return replace(super().traits, is_equivariant=self.options.boundary != "zeros")

    def averaging(
        self, values: Any, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give each pixel's posterior over the windows it may be compared with."""
        how: dict[str, Any] = {"values": values, "profile": self.profile(scale), "border": self.border(scale)}
        return mosaic.equivariant_local_posterior(
            x, images, level, self.extent(scale), self.options.boundary, **how, compute=compute
        )

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse scales that leave a pixel without candidates."""
        notes = super().check(levels, scales, labels)
        _, height, width = self.dataset.shape
        if self.options.boundary == "valid" and max(scales) > min(height, width):
            raise mosaic.UsageError(
                f"Scale {max(scales)} exceeds the image ({height} x {width}): with boundary 'valid' no window of "
                f"that size lies inside a training image; use scales up to {(min(height, width) - 1) | 1}, or another "
                f"boundary."
            )
        return notes


class ELS(Adaptive, EquivariantWindows):
    """Equivariant local score: each pixel's k x k window against training windows from everywhere.

    References: Kamb & Ganguli 2025, eqs. 9-10; boundary `zeros`: sec. 3.4 and app. B.2.

    The paper's: boundaries `zeros` and `circular`.
    The published code's: its machine for circular networks is boundary `valid`. It agrees to 7e-6 with its numbers for
    `zeros` and `valid` (tests/plugins/test_machines.py).
    Ours: the attribution; `tolerance`, which estimates x0hat from part of the training images.
    """

    name = "els"
    references = (KAMB,)

    class Options(EquivariantWindows.Options, Adaptive.Options):
        """Boundary and engine, and how exact x0hat is."""

    options: Options


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    for machine in (IS, ES, LS, ELS):
        register(machine)
