"""How much work a flow is, in the unit that progress is shown in: weighted comparisons.

A comparison of windows weighs k, and one of whole images 1. Time is in proportion to it: an engine shares the products
of overlapping windows, so a window adds only k of its k x k products.
"""

from __future__ import annotations

from collections.abc import Sequence

from mosaic.interfaces.score import ScoreModel

__all__ = ["count_comparisons", "step_work", "unit_of"]


def count_comparisons(model: ScoreModel, scales: Sequence[float], labels: Sequence[int]) -> int:
    """Count the comparisons, of windows or of whole images, of samples with these labels at one step of each scale."""
    return round(sum(map(model.traits.comparisons, scales)) * _share(model, labels))


def step_work(model: ScoreModel, scales: Sequence[float], labels: Sequence[int]) -> list[float]:
    """Give the work of samples with these labels at one step of each scale: weighted comparisons.

    Where the model compares nothing, a step of a sample counts 1.
    """
    comparisons, share = model.traits.comparisons, _share(model, labels)
    steps = [comparisons(scale) * max(1, scale) * share for scale in scales]
    return steps if any(steps) else [float(len(labels))] * len(scales)


def unit_of(model: ScoreModel, scales: Sequence[float]) -> str:
    """Name what `step_work` counts: weighted comparisons, or steps where the model compares nothing."""
    return "weighted comparison" if any(map(model.traits.comparisons, scales)) else "step"


def _share(model: ScoreModel, labels: Sequence[int]) -> float:
    """Passes over the training set for these labels: 1 without a class, else the share of images in the class."""
    classes = model.dataset.labels
    return sum(1.0 if label < 0 or classes is None else float((classes == label).double().mean()) for label in labels)
