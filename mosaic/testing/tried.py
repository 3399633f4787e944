"""A score model being checked: evaluated with levels and labels that it takes."""

from __future__ import annotations

import torch
from torch import Tensor

from mosaic.dataset import DataSet
from mosaic.errors import UsageError
from mosaic.schedule import Level
from mosaic.score import ScoreModel
from mosaic.testing.subject import NotApplicable, Subject, require

__all__ = ["Tried", "analytic", "close"]

HIGH = 1e5  # noise so high that images of range 1 are nothing beside it


class Tried:
    """A score model of a subject, ready to be evaluated."""

    def __init__(self, subject: Subject, dataset: DataSet | None = None) -> None:
        self.subject = subject
        self.dataset = dataset if dataset is not None else subject.data
        self.model: ScoreModel = subject.plugin(subject.parsed(), self.dataset)
        self.scale = subject.scale if self.model.has_scale else 0

    def level(self, noise: float) -> Level:
        """A level with about this noise, one of the model's schedule where it has one."""
        schedule = self.model.schedule
        return Level(1.0, noise) if schedule is None else schedule.level(min(1.0, max(0.05, noise)))

    def takes(self, level: Level) -> bool:
        """Whether the model does not refuse a level beforehand."""
        try:
            self.model.check((level,), (self.scale,), tuple(self.labels(torch.empty(1)).tolist()))
        except UsageError:
            return False
        return True

    def labels(self, x: Tensor, wanted: int = -1) -> Tensor:
        """Labels that the model takes for a batch: none (-1), or the first class where it needs one."""
        try:
            self.model.check((self.level(0.5),), (self.scale,), (wanted,))
        except UsageError:
            wanted = 0 if self.dataset.labels is None else int(self.dataset.labels[0])
        return torch.full((len(x),), wanted, dtype=torch.int64)

    def __call__(self, x: Tensor, level: Level, labels: Tensor | None = None) -> Tensor:
        """Evaluate x0hat."""
        return self.model.denoise(x, level, self.labels(x) if labels is None else labels, self.scale)


def analytic(subject: Subject) -> Tried:
    """A model that takes any level; networks know those they were trained for only."""
    tried = Tried(subject)
    if tried.model.schedule is not None or not all(tried.takes(Level(1.0, noise)) for noise in (1e-3, HIGH)):
        raise NotApplicable
    return tried


def close(one: Tensor, other: Tensor, words: str, tolerance: float = 1e-5) -> None:
    """Fail unless two tensors agree to a tolerance, with words and by how much."""
    apart = float((one.double() - other.double()).abs().max())
    require(apart <= tolerance, f"{words} (by {apart:.2g}, more than {tolerance:g})")
