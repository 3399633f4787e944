"""Analytic machines: score models that are a posterior over the training set."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype, standard_torch
from mosaic.engine import compiled, convolved, ideal, reference
from mosaic.engine.compiler import with_build
from mosaic.engine.compute import DEFAULT, Compute
from mosaic.engine.posterior import Posterior
from mosaic.engine.windows import check_window_size
from mosaic.errors import UsageError
from mosaic.interfaces.attribution import Attribution, Source
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.images import Images, select_images
from mosaic.interfaces.schedule import Level
from mosaic.interfaces.score import Memory, ScoreModel, Traits

__all__ = ["NEAREST", "AnalyticMachine"]

# The nearest candidate of x / a is the same at every level. At this level, products in float32 are exact enough.
NEAREST = Level(1.0, 0.1)


class AnalyticMachine(ScoreModel):
    """A score model whose posterior mean is computed from the training images; subclasses choose candidates.

    A subclass must define `posterior`, and then `sources`, `covariance` and the trait `comparisons` to match. It may
    also override `evaluate`, `compute`, `engine_for`, `held_bytes`, `block_bytes`, `read_values` and `on`.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Forget the `covariance` of a parent class whose x0hat this class does not have."""
        super().__init_subclass__(**keywords)
        if "covariance" not in vars(cls) and vars(cls).keys() & {"evaluate", "posterior"}:
            cls.covariance = AnalyticMachine.covariance  # type: ignore[method-assign]

    @property
    def traits(self) -> Traits:
        """Every machine attributes pixels, and compares a labelled sample with the images of its class only."""
        return Traits(
            has_attribution=True,
            is_conditional=True,
            engine=lambda dtype: with_build(self.engine_for(dtype)),
            memory=self._memory,
        )

    def engine_for(self, dtype: torch.dtype) -> str:
        """Name the engine that computes in a dtype: compiled, torch or reference."""
        return "torch"

    @property
    def compute(self) -> Compute:
        """How candidates are compared, unless a caller asks for more."""
        return DEFAULT

    @abstractmethod
    def posterior(self, x: Tensor, images: Images, level: Level, scale: float, compute: Compute) -> Posterior:
        """Give the posterior of noisy images x (B, C, H, W) over candidates from images (N, C, H, W).

        Images may be a tensor, or an `ImageSource` that is read in pieces. Pass `compute` on to the function that
        compares the candidates.
        """

    def evaluate(
        self, x: Tensor, images: Images, level: Level, scale: float, compute: Compute
    ) -> tuple[Tensor, Posterior | None]:
        """Give x0hat of x by candidates from images, and the posterior that says what it is made of.

        x0hat is the mean of that posterior, unless overridden; the posterior may be None without
        `compute.diagnostics`.
        """
        posterior = self.posterior(x, images, level, scale, compute)
        return posterior.mean(), posterior

    def sources(self, posterior: Posterior, images: Images, level: Level, scale: float) -> Source:
        """Give the best candidates (B, h, w) of a posterior over images, with ties resolved.

        The default returns `Posterior.candidate` with multiplicity 0, which means that equals were not counted.
        """
        image, row, column = posterior.candidate()
        return Source(image, row, column, torch.zeros_like(image))

    def covariance(self, x: Tensor, images: Images, level: Level, scale: float) -> Tensor | None:
        """Give d x0hat / d x (B, C, H, W, C, H, W) of float64 x by candidates from images; None if it is not known.

        It is the posterior covariance of what is averaged with what is compared, times a / s^2 (`window_jacobian`,
        `ideal_jacobian`). A subclass that overrides `posterior` or `evaluate` does not inherit it.
        """
        return None

    def held_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Bytes at most that all threads share: nothing, unless overridden."""
        return 0

    def block_bytes(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Bytes that a thread needs at most, by the engine's own count, for any number of training images."""
        shape, engine = self.dataset.shape, self.engine_for(dtype)
        block = self.compute.block_on(self.dataset.images.device)
        if not self.traits.has_scale:
            return ideal.workspace_bytes(block)
        if engine == "compiled":
            return compiled.workspace_bytes(batch, shape, int(scale))
        measure = reference.workspace_bytes if engine == "reference" else convolved.workspace_bytes
        return measure(batch, shape, int(scale), block)

    def read_values(self, batch: int, scale: float, dtype: torch.dtype) -> int:
        """Values of training images that a thread compares at a time at most, and holds if they are read in pieces."""
        if self.engine_for(dtype) != "compiled":
            return 2**22
        return compiled.block_values(self.dataset.images, self.traits.comparisons(scale) / len(self.dataset))

    def on(self, dataset: DataSet) -> Self:
        """Make the machine with the same options on other images, to time it."""
        return type(self)(self.options, dataset)

    def _memory(self, batch: int, scale: float, dtype: torch.dtype, labels: tuple[int, ...]) -> Memory:
        held, block = self.held_bytes(batch, scale, dtype), self.block_bytes(batch, scale, dtype)
        return Memory(held, block, self.read_values(batch, scale, dtype))

    @standard_torch()
    @torch.no_grad()
    def denoise(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give x0hat; a sample with a label is compared only with the training images of its class.

        Raises
        ------
        UsageError
            If x does not fit the training images, or the scale or a label cannot be used.
        """
        self.check((level,), (scale,), ())
        result = torch.empty_like(x)
        for members, places in self.dataset.class_groups(labels):
            denoised, _ = self.evaluate(x[members], self._images_at(places), level, scale, self.compute)
            result[members] = denoised.to(x.dtype)
        return result

    @standard_torch()
    @torch.no_grad()
    def attribute(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: float = 0) -> Attribution:
        """Give x0hat and what it is made of, in the same pass; arguments as for `denoise`, and noise may be 0.

        At noise 0 every pixel is that of the nearest candidate, which shares the weight with its equals, if counted.
        """
        finished = level.noise == 0
        level = NEAREST if finished else level
        self.check((level,), (scale,), ())
        compute, (batch, _, height, width) = replace(self.compute, diagnostics=True), x.shape
        denoised = torch.empty_like(x)
        image, row, column, multiplicity = torch.zeros(4, batch, height, width, dtype=torch.int64, device=x.device)
        weight, entropy = torch.zeros(2, batch, height, width, dtype=torch.float64, device=x.device)
        for members, places in self.dataset.class_groups(labels):
            images = self._images_at(places)
            mean, posterior = self.evaluate(x[members], images, level, scale, compute)
            if posterior is None:
                raise UsageError(f"Score model '{self.name}' gave no posterior where one was asked for.")
            source, weight[members], entropy[members] = expand_to_pixels(
                posterior, self.sources(posterior, images, level, scale)
            )
            denoised[members] = mean.to(x.dtype)
            image[members] = source.image if places is None else places[source.image]
            row[members], column[members], multiplicity[members] = source.row, source.column, source.multiplicity
        if finished:
            denoised = self.dataset.images[image, :, row, column].movedim(-1, 1).to(x.dtype)
            weight = 1 / multiplicity.clamp_min(1).double()
            entropy = -weight.log()
        return Attribution(denoised, Source(image, row, column, multiplicity), weight, entropy)

    @standard_torch()
    @torch.no_grad()
    def jacobian(self, x: Tensor, level: Level, labels: Tensor | None = None, scale: float = 0) -> Tensor | None:
        """Give d x0hat / d x, if `covariance` does; arguments as for `denoise`."""
        self.check((level,), (scale,), ())
        wide = accumulator_dtype(x.device)
        result = None
        for members, places in self.dataset.class_groups(labels):
            matrix = self.covariance(x[members].to(wide), self._images_at(places), level, scale)
            if matrix is None:
                return None
            result = x.new_empty(len(x), *x.shape[1:], *x.shape[1:], dtype=wide) if result is None else result
            result[members] = matrix
        return result

    def check(self, levels: tuple[Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]) -> Sequence[str]:
        """Refuse scales that are not window sizes; note if windows are compared without the compiled engine."""
        if not self.traits.has_scale:
            return ()
        for scale in scales:
            check_window_size(scale)
        return compiled.fallback_notes(self.compute.engine, self.dataset.images)

    def _images_at(self, places: Tensor | None) -> Images:
        return self.dataset.images if places is None else select_images(self.dataset.images, places)


def expand_to_pixels(posterior: Posterior, source: Source) -> tuple[Source, Tensor, Tensor]:
    """Give source, weight and entropy at each pixel (B, H, W), also where all pixels share one posterior.

    A shared posterior's source is the training pixel that moved to the image's first pixel. The other pixels follow by
    the same circular shift.
    """
    batch, _, height, width = posterior.weighted.shape
    shape = (batch, height, width)
    row, column = source.row, source.column
    if posterior.maximum.shape != shape:
        row = (row + torch.arange(height, device=row.device, dtype=torch.int64)[:, None]) % height
        column = (column + torch.arange(width, device=row.device, dtype=torch.int64)) % width
    whole = (source.image, row, column, source.multiplicity, 1 / posterior.total, posterior.entropy())
    image, row, column, multiplicity, weight, entropy = (tensor.expand(shape) for tensor in whole)
    return Source(image, row, column, multiplicity), weight.double(), entropy.double()
