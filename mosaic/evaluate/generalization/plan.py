"""A comparison of training and held-out images that is ready to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mosaic.interfaces.dataset import DataSet, balanced_subset
from mosaic.interfaces.images import mean_image
from mosaic.interfaces.schedule import Level
from mosaic.run.score import Score
from mosaic.run.work import step_work
from mosaic.sampling.noise import noise_of, sample_seed
from mosaic.storage.output import Output

__all__ = ["HELD_OUT", "LEFT_OUT", "TRAINING", "UNIT", "GeneralizationPlan", "ImageSample", "draw_sample"]

TRAINING, HELD_OUT, LEFT_OUT = "training", "held_out", "left_out"
BATCH = 8  # images of each set in a part of the job, so that an interrupt loses little
UNIT = "weighted comparison"


@dataclass(frozen=True)
class ImageSample:
    """Images of a set, and the seeds of their noise.

    Attributes
    ----------
    images : Tensor (n, C, H, W)
        Clean images.
    labels : Tensor (n,)
        Their classes, -1 for none.
    index : tuple of int
        Their places in the set.
    seeds : tuple of int
        Of the noise of each.
    """

    images: Tensor
    labels: Tensor
    index: tuple[int, ...]
    seeds: tuple[int, ...]

    def noisy(self, batch: range, level: Level) -> Tensor:
        """Noisy images (B, C, H, W) of a batch; the noise of an image is the same at every level."""
        clean = self.images[batch.start : batch.stop]
        noise = noise_of(self.seeds[batch.start : batch.stop], clean.shape[1:]).to(clean)  # type: ignore[arg-type]
        return level.signal * clean + level.noise * noise


def draw_sample(dataset: DataSet, places: Tensor, count: int, seed: int, *, is_training: bool) -> ImageSample:
    """Choose `count` of the images at `places` by a seed, as even over the classes as they allow.

    An image's noise depends on the seed, its place and which set it is of, not on how many are chosen.
    """
    labels = None if dataset.labels is None else dataset.labels.cpu()[places]
    index = places[balanced_subset(len(places), count, seed, labels)]
    chosen = dataset.select(index.to(dataset.images.device))
    seeds = tuple(sample_seed(seed, 2 * place + (not is_training)) for place in index.tolist())
    classes = index.new_full((count,), -1) if chosen.labels is None else chosen.labels
    return ImageSample(chosen.images[:], classes.to(chosen.images.device), tuple(index.tolist()), seeds)


@dataclass(frozen=True)
class GeneralizationPlan:
    """What is evaluated, resolved and checked.

    Attributes
    ----------
    scores : mapping of str to Score
        By the names they get; the training set is that of the first one.
    levels : mapping of float to Level
        Noise levels by their times.
    held_out : DataSet
        The set that the held-out images are of.
    samples : mapping of str to ImageSample
        Training and held-out images, as many of each.
    left_out : tuple of str
        Names of the scores that are also evaluated without the training image that is denoised.
    configuration : mapping
        Settings, as they are stored.
    free : tuple of str
        Entries of the identity that may differ when it is resumed, such as paths.
    output : Output or None
        Where the result is to be kept; None for in memory.
    notes : tuple of str
        What the user should know before it starts.
    """

    scores: Mapping[str, Score]
    levels: Mapping[float, Level]
    held_out: DataSet
    samples: Mapping[str, ImageSample]
    left_out: tuple[str, ...]
    configuration: Mapping[str, Any]
    free: tuple[str, ...] = ()
    output: Output | None = None
    notes: tuple[str, ...] = ()

    @property
    def dataset(self) -> DataSet:
        """The training set of the first score."""
        return next(iter(self.scores.values())).model.dataset

    @property
    def is_conditional(self) -> bool:
        """Whether scores are given the images' classes."""
        return bool(self.configuration["class_conditional"])

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets of images that losses are of."""
        return (TRAINING, HELD_OUT, LEFT_OUT) if self.configuration["leave_one_out"] else (TRAINING, HELD_OUT)

    @property
    def batches(self) -> list[range]:
        """Samples of each part of the job."""
        count = len(self.samples[TRAINING].index)
        return [range(start, min(count, start + BATCH)) for start in range(0, count, BATCH)]

    @cached_property
    def mean_image(self) -> Tensor:
        """Mean of all training images (C, H, W), float64."""
        return mean_image(self.dataset.images)

    def clean(self, batch: range) -> Tensor:
        """Training images of a batch, and then its held-out images: (2 B, C, H, W)."""
        return torch.cat([sample.images[batch.start : batch.stop] for sample in self.samples.values()])

    def noisy(self, batch: range, level: Level) -> Tensor:
        """The same, noisy."""
        return torch.cat([sample.noisy(batch, level) for sample in self.samples.values()])

    def labels_of(self, batch: range) -> Tensor | None:
        """Classes (2 B,) of these, if scores are given them."""
        if not self.is_conditional:
            return None
        return torch.cat([sample.labels[batch.start : batch.stop] for sample in self.samples.values()])

    def work(self, name: str, level: Level, batch: range) -> float:
        """Work of a score at a level of a batch, in `UNIT`; one that compares nothing counts as IS does."""
        own, labels = self.scores[name], self.labels_of(batch)
        if not own.model.traits.comparisons(own.scale_at(level)):
            return 2.0 * len(batch) * len(own.model.dataset)
        told = [-1] * 2 * len(batch) if labels is None else labels.tolist()
        return step_work(own.model, [own.scale_at(level)], told)[0]

    def left_out_work(self, batch: range) -> float:
        """Work of a batch's training images that are left out: half of what both sets are."""
        return sum(self.work(name, level, batch) for name in self.left_out for level in self.levels.values()) / 2

    def whole_work(self, batch: range) -> float:
        """Work of all that is done of a batch."""
        whole = sum(self.work(name, level, batch) for name in self.scores for level in self.levels.values())
        return whole + self.left_out_work(batch)
