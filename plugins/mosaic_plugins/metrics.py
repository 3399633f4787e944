"""Metrics of agreement (theory against network) and of images against the training set."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

import mosaic
from mosaic_plugins.machines import ELS
from mosaic_plugins.references import KAMB, SHANG, YOON

__all__ = [
    "MSE",
    "R2",
    "ClampedR2",
    "Consistency",
    "Cosine",
    "LocalConsistency",
    "Memorized",
    "NearestTrain",
    "PearsonR",
    "SquaredPearsonR",
]


class PearsonR(mosaic.Metric):
    """Pearson correlation of the pixels of an image and its reference, channels together; undefined if one is flat.

    What the paper's released script computes, and its tables print as r^2.

    References: Kamb & Ganguli 2025, sec. 5.
    """

    name = "pearson_r"
    references = (KAMB,)
    by_default = True
    range = (-1.0, 1.0)
    higher_is_better = True

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Give r (B,) of images (B, C, H, W), each centred by its own mean; NaN where it is undefined."""
        first, second = (_flat(batch) - _flat(batch).mean(1, keepdim=True) for batch in _pair(images, reference))
        return _cosine(first, second)


class SquaredPearsonR(PearsonR):
    """Square of the Pearson correlation: the share of the reference's variance that a fitted line would explain."""

    name = "r2"
    by_default = True
    range = (0.0, 1.0)

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Give r^2 (B,) of images (B, C, H, W); NaN where r is undefined."""
        return super().__call__(images, reference, labels).square()


class R2(mosaic.Metric):
    """Coefficient of determination 1 - SSE / SST: the share of the reference's variance that the image explains."""

    name = "R2"
    by_default = True
    range = (-math.inf, 1.0)
    higher_is_better = True

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Compare with the reference's variance about its own mean; undefined if that is 0."""
        first, second = (_flat(batch) for batch in _pair(images, reference))
        total = (second - second.mean(1, keepdim=True)).square().sum(1)
        return torch.where(total > 1e-12, 1 - (first - second).square().sum(1) / total, math.nan)


class ClampedR2(mosaic.Metric):
    """R2 of images clamped to the range of pixels, [-1, 1]; over samples its mean counts.

    1 - SSE / (D V), with V the variance of the reference's D pixels divided by D - 1, which makes 1 - R2 smaller by a
    factor (D - 1) / D. That is what Shang et al. 2026 compute, and their tables of Lukoianov et al. 2025.

    References: Shang, Sun, Lin & Shen 2026 (GoldDiff, arXiv 2602.16498), released code.
    """

    name = "R2_clamped"
    references = (SHANG,)
    statistic = "mean"
    range = (-math.inf, 1.0)
    higher_is_better = True

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Compare clamped images with the clamped reference; undefined if that is flat."""
        first, second = (_flat(batch).clamp(-1, 1) for batch in _pair(images, reference))
        variance = second.var(1)
        residual = (first - second).square().mean(1)
        return torch.where(variance > 1e-12, 1 - residual / variance, math.nan)


class Cosine(mosaic.Metric):
    """Cosine similarity of an image and its reference as vectors; undefined if one is 0 everywhere."""

    name = "cosine"
    by_default = True
    range = (-1.0, 1.0)
    higher_is_better = True

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Take the cosine of the angle between them; nothing is centred."""
        return _cosine(*(_flat(batch) for batch in _pair(images, reference)))


class MSE(mosaic.Metric):
    """Mean squared difference of the pixels of an image and its reference."""

    name = "mse"
    by_default = True
    range = (0.0, math.inf)
    higher_is_better = False

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Give the mean (B,) over pixels and channels of images (B, C, H, W), in units of pixels squared."""
        first, second = (_flat(batch) for batch in _pair(images, reference))
        return (first - second).square().mean(1)


class NearestTrain(mosaic.Metric):
    """Euclidean distance to the nearest training image, over all pixels and channels; small means memorised."""

    name = "nearest_train"
    by_default = True
    range = (0.0, math.inf)
    higher_is_better = True
    compares = False
    needs_dataset = True

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Search the whole training set; `mosaic.nearest_images` says which image it is."""
        distances, _ = mosaic.nearest_images(images, self.dataset.images)
        return distances[:, 0]


class Memorized(mosaic.Metric):
    """Whether an image is a copy (1 or 0): its nearest training image is less than a third as far as the next one.

    An exact copy of an image that the training set holds twice is one, too.

    References: Yoon et al. 2023 (Diffusion probabilistic models generalize when they fail to memorize), sec. 3.
    """

    name = "memorized"
    references = (YOON,)
    by_default = True
    statistic = "share"
    range = (0.0, 1.0)
    higher_is_better = False
    compares = False
    needs_dataset = True

    class Options(mosaic.Options):
        """The ratio of distances below which an image is a copy."""

        ratio: float = Field(1 / 3, gt=0, le=1, description="Largest ratio of the two distances of a copy.")

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Compare the two least distances; undefined for a training set of one image."""
        if len(self.dataset) < 2:
            return torch.full((len(images),), math.nan, dtype=torch.float64, device="cpu")
        distances, _ = mosaic.nearest_images(images, self.dataset.images, 2)
        copies: Tensor = (distances[:, 0] < self.options.ratio * distances[:, 1]) | (distances[:, 0] == 0)
        return copies.double()


class LocalConsistency(mosaic.Metric):
    """Share of pixels that equal, within a tolerance, the centre of the training patch nearest to their window.

    Theorem 4.1 says that all do, at the end of the flow of an ELS machine with this window size and boundary.

    References: Kamb & Ganguli 2025, theorem 4.1.
    """

    name = "local_consistency"
    references = (KAMB,)
    range = (0.0, 1.0)
    higher_is_better = True
    compares = False
    needs_dataset = True

    class Options(mosaic.Options):
        """Windows to compare, and the tolerance of equality."""

        k: int = Field(3, ge=1, description="Window size, odd: that of the flow's last steps.")
        boundary: Literal["zeros", "circular", "valid"] = Field("zeros", description="Boundary, as for ELS.")
        tolerance: float = Field(
            0.05, gt=0, description="Largest difference from the centre, in every channel; pixels span 2."
        )

        @field_validator("k")
        @classmethod
        def _odd(cls, k: int) -> int:
            if k % 2 == 0:
                raise ValueError("a window size must be odd")
            return k

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Find each pixel's nearest patch among all it may be compared with, of the sample's class if it has one."""
        machine = ELS(ELS.Options(boundary=self.options.boundary), self.dataset)
        training = self.dataset.images
        x = images.to(training.device, training.dtype)
        wanted = labels if labels is not None and self.dataset.labels is not None else None
        source = machine.attribute(x, mosaic.Level(1.0, 0.0), wanted, self.options.k).source
        centres = training[source.image, :, source.row, source.column].movedim(-1, 1)
        equal: Tensor = ((x - centres).abs() <= self.options.tolerance).all(1)
        return equal.double().mean((1, 2))


class Consistency(mosaic.Metric):
    """Whether an image obeys the rule of its data set (1 or 0), such as that two distant parts of it agree.

    Only for data sets that have a rule; `DataSet.rule` says how an image breaks it.
    """

    name = "consistency"
    statistic = "share"
    range = (0.0, 1.0)
    higher_is_better = True
    compares = False
    needs_dataset = True

    @property
    def chance(self) -> float | None:
        """Share of consistent images if all parts were whole, and showed each kind as often, independently."""
        return None if self.dataset.rule is None else float(self.dataset.rule.chance)

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Judge each image by the data set's rule.

        Raises
        ------
        UsageError
            If the data set has none.
        """
        if self.dataset.rule is None:
            raise mosaic.UsageError(
                f"Data set '{self.dataset.name}' has no rule that images could be judged by; 'pairs' and "
                f"'pairs-shape' have one."
            )
        verdicts: Tensor = self.dataset.rule.judge(images)
        return (verdicts == 0).double()


def _pair(images: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
    if reference is None or reference.shape != images.shape:
        shape = None if reference is None else tuple(reference.shape)
        raise mosaic.UsageError(f"Images of shape {tuple(images.shape)} need a reference of the same, not {shape}.")
    return images, reference


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1).double()


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    return torch.where(norms > 1e-12, ((first * second).sum(1) / norms).clamp(-1, 1), math.nan)


@mosaic.hookimpl
def register_metrics(register: mosaic.Register) -> None:
    for metric in (
        PearsonR,
        SquaredPearsonR,
        R2,
        ClampedR2,
        Cosine,
        MSE,
        NearestTrain,
        Memorized,
        LocalConsistency,
        Consistency,
    ):
        register(metric)
