"""Filtered posterior means: windows, sources and temperature chosen one by one, by the fast engines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

import mosaic
from mosaic_plugins.machines import ELS
from mosaic_plugins.soft_windows import SoftELS, soft_profile

__all__ = ["Filtered"]


class Filtered(SoftELS):
    """One machine for the theories that answer for each pixel by the centre of what they compare: IS, ES, LS, ELS.

    x0hat(p) = sum_c softmax_c( - sum_u g(u) (x_(p+u) - a c_u)^2 / (2 s^2 T) ) centre(c), with candidates c from the
    same place or from everywhere, also mirrored and turned if so asked. `mosaic.filtered_posterior_mean` computes the
    same and more (any precisions, masks, any responses) without windows' fast engines; where soft windows reach farther
    over the border than `border`, of images padded with zeros (`mosaic.Move.translates`).

    With a `mixture` m, x0hat is the mean of those at the scales k m and k / m: each pixel has two filters, whose
    response weights are 1/2.

    A soft window's weights are g(u) = exp(-|u / w|^e / 2) along each axis. The scale is their area, k = 2 w 2^(1/e)
    Gamma(1 + 1/e), in pixels; `cutoff` and `border` are in widths w. With an `aspect` r the widths are w sqrt(r) up and
    down, and w / sqrt(r) left and right: k^2 stays the volume of the window. Both axes are cut off where the wider is.

    Boxes are compared only with those that hang over the border alike, as in ELS. Those with a `border` hold zeros
    beyond it, as soft windows do; their w is that of the Gaussian of the same area, k / sqrt(2 pi).

    Of candidates that are mirrored or turned, equals are not counted, and whole images attribute no pixels.

    The paper's: IS, ES, LS and ELS (Kamb & Ganguli 2025, eqs. 3-10), which are choices of `window` and `source`.
    The published code's: not compared.
    Ours: all else. The abstract of Niedoba, Zwartsenberg & Wood 2026 (arXiv 2605.24192) names the axes: query
    precisions, response weights, source distributions; the formula is our reading of it.
    """

    name = "filtered"

    class Options(SoftELS.Options):
        """Windows, where candidates come from, and how sharply they are told apart."""

        window: Literal["box", "soft", "whole"] = Field(
            description="What is compared: a box of k x k pixels, a soft window as of soft-els, or whole images.",
        )
        source: Literal["everywhere", "place"] = Field(
            "everywhere", description="Candidates: from all places (of whole images all translates), or from the same."
        )
        border: float | None = Field(  # type: ignore[assignment]
            None,
            ge=0,
            le=10,
            description="With boundary zeros, how near to the border pixels are compared only with those just as near, "
            "in widths w, at most as far as windows reach.  [default: 1 of soft windows, boxes as far as they reach]",
        )
        mirrored: bool = Field(False, description="Whether mirror images (left to right) are candidates, too.")
        turned: bool = Field(False, description="Whether images turned by quarters are candidates, too.")
        temperature: float = Field(
            1.0, gt=0, le=1e6, description="T: the variance of the noise is taken to be T s^2 where candidates compete."
        )
        exponent: float = Field(
            2.0,
            ge=0.5,
            le=16,
            description="e: weights of soft windows are exp(-|u / w|^e / 2) along each axis; 2 is a Gaussian.",
        )
        aspect: float = Field(
            1.0,
            ge=0.2,
            le=5,
            description="Height over width of soft windows: w is sqrt(aspect) times as large up and down, and as small "
            "left and right.",
        )
        mixture: float = Field(
            1.0,
            ge=1,
            le=4,
            description="m: x0hat is the mean of those at scales k m and k / m (of boxes the nearest odd numbers); "
            "unless m is 1, pixels are not attributed.",
        )

        def unused(self) -> Mapping[str, str]:
            """What the windows and sources chosen do not have."""
            soft, whole = self.window == "soft", self.window == "whole"
            used = {"cutoff": soft, "exponent": soft, "aspect": soft, "mixture": not whole, "engine": not whole}
            used["border"] = not whole and self.source == "everywhere"
            used["border_limit"] = used["border"] and (soft or self.border is not None)
            used["tolerance"] = used["order"] = False
            used["boundary"] = not whole or self.source == "everywhere"
            chosen = f"window={self.window}, source={self.source}"
            return {**super().unused(), **{name: chosen for name, is_used in used.items() if not is_used}}

        @model_validator(mode="after")
        def _consistent(self) -> Self:
            """Refuse sources that leave pixels without candidates, or that there are not."""
            whole = self.window == "whole"
            if whole and self.boundary != "circular" and self.source == "everywhere":
                raise ValueError("whole images have circular translates; use boundary=circular, or source=place")
            if self.source == "place" and self.boundary == "valid":
                raise ValueError("boundary=valid leaves pixels near the border without candidates at their place")
            return self

    options: Options

    @property
    def exponent(self) -> float:  # type: ignore[override]
        """That of the profile of a soft window."""
        return self.options.exponent

    @property
    def border_widths(self) -> float:
        """The option `border`, 1 by default."""
        return 1.0 if self.options.border is None else self.options.border

    @property
    def aligned(self) -> bool:  # type: ignore[override]
        """Whether a window is a candidate at its own place only."""
        return self.options.source == "place"

    @property
    def traits(self) -> mosaic.Traits:
        """As the machine chosen; orientations and scales multiply the comparisons."""
        soft, whole = self.options.window == "soft", self.options.window == "whole"
        return replace(
            super().traits,
            has_attribution=len(self.orientations()) == 1 if whole else self.options.mixture == 1,
            has_scale=not whole,
            has_continuous_scale=soft,
            is_equivariant=not self.aligned and self.options.boundary != "zeros",
            window=(lambda scale: None) if whole else (lambda scale: self.extent(max(self.scales(scale)))),
        )

    def orientations(self) -> list[mosaic.Move]:
        """What becomes of images before they are candidates; the first changes nothing."""
        return mosaic.Move.augmented([mosaic.Move()], flips=self.options.mirrored, turns=self.options.turned)

    def scales(self, scale: float) -> tuple[float, ...]:
        """Give the scales whose x0hat are averaged, each once."""
        mixture, box = self.options.mixture, self.options.window == "box"
        if mixture == 1:
            return (scale,)
        return tuple(
            dict.fromkeys(mosaic.nearest_window(each) if box else each for each in (scale / mixture, scale * mixture))
        )

    def engine_for(self, dtype: torch.dtype) -> str:
        """Name the engine; whole images are compared by torch."""
        return "torch" if self.options.window == "whole" else super().engine_for(dtype)

    def held_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Count, beside what windows take, the images of one orientation, twice while made, and posteriors of all."""
        held, count = super().held_bytes(batch, max(self.scales(scale)), dtype), len(self.orientations())
        if count == 1:
            return held
        images, (channels, height, width) = self.dataset.images, self.dataset.shape
        moved = 2 * images.numel() * images.element_size() if isinstance(images, Tensor) else 0
        posteriors = 8 * (count + 1) * batch * (channels + 5) * height * width
        return held + moved + posteriors

    def block_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Count what the widest windows take."""
        return super().block_bytes(batch, max(self.scales(scale)), dtype)

    def extent(self, scale: float) -> int:
        """Side of a window in pixels, of a soft one where the wider axis is cut off."""
        stretch = max(self.options.aspect, 1 / self.options.aspect) ** 0.5
        return super().extent(scale * stretch) if self.options.window == "soft" else int(scale)

    def profile(self, scale: float) -> Sequence[float] | tuple[Sequence[float], Sequence[float]] | None:
        """Weights of a window's pixels along both axes, or along each; None where windows are hard."""
        if self.options.window != "soft":
            return None
        if self.options.aspect == 1:
            return super().profile(scale)
        width, stretch, radius = self.width(scale), self.options.aspect**0.5, self.extent(scale) // 2
        upright, across = (soft_profile(each, radius, self.exponent) for each in (width * stretch, width / stretch))
        return upright, across

    def border(self, scale: float) -> int | None:
        """How near to the border pixels are compared with those just as near; None as far as boxes reach."""
        hangs_over = self.options.window == "box" and self.options.border is None
        return None if hangs_over or self.aligned else super().border(scale)

    def comparisons(self, scale: float) -> int:
        """Count the windows or images that one sample is compared with."""
        _, height, width = self.dataset.shape
        if self.options.window == "whole":
            return len(self.orientations()) * len(self.dataset) * (1 if self.aligned else height * width)
        return len(self.orientations()) * sum(map(super().comparisons, self.scales(scale)))

    def evaluate(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> tuple[Tensor, mosaic.Posterior | None]:
        """Give x0hat, and its posterior where it is the mean of one."""
        if self.options.mixture == 1:
            return super().evaluate(x, images, level, scale, compute)
        means = [self._merged(x, images, level, each, compute).mean() for each in self.scales(scale)]
        return torch.stack(means).mean(0), None

    def posterior(
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float, compute: mosaic.Compute
    ) -> mosaic.Posterior:
        """Give the posterior over the candidates of each orientation, merged.

        Raises
        ------
        UsageError
            If x0hat is a mean over several scales, each of which has a posterior of its own.
        """
        if self.options.mixture != 1:
            raise mosaic.UsageError(
                f"With mixture={self.options.mixture} x0hat is no mean of one posterior; use mixture=1, or `denoise`."
            )
        return self._merged(x, images, level, scale, compute)

    def covariance(  # type: ignore[override]
        self, x: Tensor, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> Tensor | None:
        """Give d x0hat / d x, the mean of those at each scale; None for translates or orientations of whole images."""
        warm = self.warmed(level)
        if self.options.window == "whole":
            is_single = self.aligned and len(self.orientations()) == 1
            return mosaic.ideal_jacobian(x, images, warm) if is_single else None

        def at(k: float) -> Tensor:
            return mosaic.window_jacobian(
                lambda values, compute: self._merged(x, images, level, k, compute, values),
                images,
                warm,
                self.extent(k),
                self.options.boundary,
                profile=self.profile(k),
            )

        first, *others = self.scales(scale)
        return sum(map(at, others), at(first)) / (1 + len(others))

    def _merged(
        self,
        x: Tensor,
        images: mosaic.Images,
        level: mosaic.Level,
        scale: float,
        compute: mosaic.Compute,
        values: Any = None,
    ) -> mosaic.Posterior:
        warm, parts = self.warmed(level), []
        for number, orientation in enumerate(self.orientations()):
            part = self._posterior(x, orientation.of(images), warm, scale, compute, values)
            if part.source is not None:  # images of each orientation are numbered after those of the one before
                part.source = part.source + number * len(images) * math.prod(images.shape[2:])
            parts.append(part)
        return reduce(mosaic.Posterior.merge, parts)

    def _posterior(
        self,
        x: Tensor,
        images: mosaic.Images,
        level: mosaic.Level,
        scale: float,
        compute: mosaic.Compute,
        values: Any,
    ) -> mosaic.Posterior:
        if self.options.window == "whole":
            whole = mosaic.ideal_posterior if self.aligned else mosaic.equivariant_posterior
            return whole(x, images, level, compute=compute)
        if not self.aligned:
            return self.averaging(values, x, images, level, scale, compute)
        k, boundary, profile = self.extent(scale), self.options.boundary, self.profile(scale)
        return mosaic.local_posterior(x, images, level, k, boundary, values=values, profile=profile, compute=compute)

    def sources(
        self, posterior: mosaic.Posterior, images: mosaic.Images, level: mosaic.Level, scale: float
    ) -> mosaic.Source:
        """Give the best candidates, by their places in the images as they are."""
        if len(self.orientations()) > 1:
            return self._places(posterior, images)
        if self.options.window == "whole":
            return mosaic.resolve_image_ties(posterior, images, translates=not self.aligned)
        return super().sources(posterior, images, level, scale)

    def _places(self, posterior: mosaic.Posterior, images: mosaic.Images) -> mosaic.Source:
        image, row_there, column_there = posterior.candidate()
        count, _, height, width = images.shape
        if posterior.maximum.shape[1:] != (height, width):
            raise mosaic.UsageError("Whole images that are mirrored or turned attribute no pixels; use windows.")
        places = torch.arange(height * width, device=images.device, dtype=torch.int64).view(1, 1, height, width)
        place = torch.zeros_like(image)
        for number, orientation in enumerate(self.orientations()):
            mine = image // count == number
            place[mine] = orientation.apply(places)[0, 0, row_there[mine], column_there[mine]]
        return mosaic.Source(image % count, place // width, place % width, torch.zeros_like(image))

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse scales that the windows cannot have, and turns of images that are not square."""
        _, height, width = self.dataset.shape
        if self.options.turned and height != width:
            raise mosaic.UsageError(f"Images of {height} x {width} pixels cannot be turned by quarters.")
        if self.options.window == "whole":
            return ()
        refuse = super().check if self.options.window == "soft" else partial(ELS.check, self)
        notes = refuse(levels, scales, labels)  # before they are rounded to those of a mixture
        widest = tuple(max(self.scales(scale)) for scale in scales)
        return notes if widest == scales else refuse(levels, widest, labels)


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(Filtered)
