"""A score model under test: evaluated at levels and with labels that it accepts."""

from __future__ import annotations

import torch
from torch import Tensor

from mosaic.errors import UsageError
from mosaic.interfaces.attribution import Attribution
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.schedule import Level
from mosaic.interfaces.score import ScoreModel
from mosaic.testing.case import NotApplicable, PluginCase, require

__all__ = ["HIGH", "ScoreCase", "analytic", "require_close"]

HIGH = 1e5  # noise so high that images of range 1 are negligible


class ScoreCase:
    """The score model of a case, on its training set or another; calling it gives x0hat."""

    def __init__(self, case: PluginCase, dataset: DataSet | None = None) -> None:
        self.case = case
        self.dataset = dataset if dataset is not None else case.dataset
        self.model: ScoreModel = case.plugin(case.parsed(), self.dataset)
        self.traits = self.model.traits
        self.scale = case.scale if self.traits.has_scale else 0

    def level(self, noise: float) -> Level:
        """Give a level with about this noise, one of the model's schedule where it has one."""
        schedule = self.traits.schedule()
        return Level(1.0, noise) if schedule is None else schedule.level(min(1.0, max(0.05, noise)))

    def accepts(self, level: Level) -> bool:
        """Whether the model's `check` accepts a level with the case's scale and a label that the model accepts."""
        try:
            label = self.labels(torch.empty(1, dtype=torch.float32, device="cpu"))
            self.model.check((level,), (self.scale,), tuple(label.tolist()))
        except UsageError:
            return False
        return True

    def labels(self, x: Tensor, wanted: int = -1) -> Tensor:
        """Give labels (B,) that the model accepts: none (-1), or the first class where it needs one."""
        try:
            self.model.check((self.level(0.5),), (self.scale,), (wanted,))
        except UsageError:
            wanted = 0 if self.dataset.labels is None else int(self.dataset.labels[0])
        return torch.full((len(x),), wanted, dtype=torch.int64, device="cpu")

    def attribute(self, x: Tensor, level: Level) -> Attribution:
        """Attribute the pixels (B, H, W) of x0hat, with labels that the model accepts."""
        return self.model.attribute(x, level, self.labels(x), self.scale)

    def __call__(self, x: Tensor, level: Level, labels: Tensor | None = None) -> Tensor:
        """Give x0hat (B, C, H, W) of x at a level; without `labels` (B,), with some that the model accepts."""
        return self.model.denoise(x, level, self.labels(x) if labels is None else labels, self.scale)


def analytic(case: PluginCase) -> ScoreCase:
    """Give the model if it accepts any level; a network knows only those that it was trained for.

    Raises
    ------
    NotApplicable
        If it does not.
    """
    score = ScoreCase(case)
    if score.traits.schedule() is not None or not all(score.accepts(Level(1.0, noise)) for noise in (1e-3, HIGH)):
        raise NotApplicable
    return score


def require_close(actual: Tensor, expected: Tensor, message: str, tolerance: float = 1e-5) -> None:
    """Fail unless two tensors agree to a tolerance; the message says by how much they differ."""
    apart = float((actual.double() - expected.double()).abs().max())
    require(apart <= tolerance, f"{message} (by {apart:.2g}, more than {tolerance:g})")
