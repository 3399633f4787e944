"""ELS from a random part of the training images: as many as each pixel needs for a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.windowed import Windowed

__all__ = ["Adaptive"]


class Adaptive(Windowed):
    """What machines with the option `tolerance` share. At its default, 0, they compare all candidates."""

    class Options(Windowed.Options):
        """How exact x0hat is."""

        tolerance: float = Field(
            0.0,
            ge=0,
            lt=2,
            description="0: x0hat is exact. Above: training images are compared in random order, until three standard "
            "errors of a pixel, estimated, are below it (pixels are in [-1, 1]); what pixels are made of is not known.",
            json_schema_extra={"is_numerical": True},
        )
        order: int = Field(
            0, ge=0, lt=2**32, description="With a tolerance, seed of the random order of the training images."
        )

        def unused(self) -> Mapping[str, str]:
            """An order of images, where all of them are compared."""
            return {**super().unused(), **({} if self.tolerance else {"order": "tolerance=0"})}

    options: Options

    @property
    def traits(self) -> mosaic.Traits:
        """With a tolerance, x0hat is estimated, and the engine's name says so."""
        exact, tolerance = super().traits, self.options.tolerance
        if not tolerance:
            return exact
        return replace(
            exact,
            is_exact=False,
            has_attribution=False,
            engine=lambda dtype: f"{exact.engine(dtype)}, tolerance {tolerance:g}",
        )

    def on(self, dataset: mosaic.DataSet) -> Self:
        """Make the exact machine on other images: time grows with their number only if all are compared."""
        return type(self)(self.options.model_copy(update={"tolerance": 0.0, "order": 0}), dataset)

    def estimated(self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float) -> mosaic.Estimate:
        """Estimate x0hat of x by candidates from images."""
        how: dict[str, Any] = {"tolerance": self.options.tolerance, "order": self.options.order}
        how |= {"profile": self.profile(scale), "border": self.border(scale), "compute": self.compute}
        return mosaic.equivariant_local_estimate(x, images, level, self.extent(scale), self.options.boundary, **how)

    @mosaic.standard_torch()
    @torch.no_grad()
    def estimate(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0
    ) -> mosaic.Estimate:
        """Give x0hat and how good it is; a sample with a label is compared only with the images of its class."""
        if not self.options.tolerance:
            return super().estimate(x, level, labels, scale)
        self.check((level,), (scale,), ())
        denoised = torch.empty_like(x)
        compared = torch.zeros(len(x), dtype=torch.float64, device="cpu")
        error = torch.zeros_like(x[:, 0], dtype=torch.float64, device="cpu")
        stopped = torch.zeros_like(error, dtype=torch.bool)
        for members, places in self.dataset.class_groups(labels):
            images = self.dataset.images
            images = images if places is None else mosaic.select_images(images, places)
            own = self.estimated(x[members], images, level, scale)
            at = members.cpu() if isinstance(members, Tensor) else members
            denoised[members] = own.denoised.to(x.dtype)
            compared[at], stopped[at], error[at] = own.compared, own.stopped, own.error
        return mosaic.Estimate(denoised, compared, stopped, error)

    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give x0hat, exact or within the tolerance."""
        if self.options.tolerance:
            return self.estimate(x, level, labels, scale).denoised
        return super().denoise(x, level, labels, scale)

    def attribute(
        self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0
    ) -> mosaic.Attribution:
        """Give x0hat and what it is made of; refused with a tolerance."""
        self._refuse("What pixels are made of")
        return super().attribute(x, level, labels, scale)

    def jacobian(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor | None:
        """Give d x0hat / d x; refused with a tolerance, as an estimate jumps where a pixel stops a stage later."""
        self._refuse("A derivative")
        return super().jacobian(x, level, labels, scale)

    def _refuse(self, what: str) -> None:
        if self.options.tolerance:
            raise mosaic.UsageError(
                f"{what} is known only where all candidates are compared: `score.tolerance` is "
                f"{self.options.tolerance:g}; set it to 0."
            )

    def held_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Bytes at most that all threads share: with a tolerance also the images of a stage, and its posteriors."""
        held = super().held_bytes(batch, scale, dtype)
        if not self.options.tolerance:
            return held
        images, (channels, height, width) = self.dataset.images, self.dataset.shape
        stage = images.numel() * images.element_size() if isinstance(images, Tensor) else 0
        return held + 24 * len(images) + stage + 8 * 4 * (4 + 3 * channels) * height * width
