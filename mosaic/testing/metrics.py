"""What every metric must hold to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mosaic.errors import UsageError
from mosaic.metric import Metric
from mosaic.testing.subject import NotApplicable, Subject, require

__all__ = ["CHECKS"]


class Tried:
    """A metric of a subject, with images to measure."""

    def __init__(self, subject: Subject) -> None:
        self.data = subject.data
        if len(self.data) < 6:
            raise UsageError(f"A metric is tried on six images; data set '{self.data.name}' has {len(self.data)}.")
        self.metric: Metric = subject.plugin(subject.parsed(), self.data)
        generator = torch.Generator().manual_seed(3)
        self.images = self.data.images[:4] + 0.2 * torch.randn(self.data.images[:4].shape, generator=generator)
        self.reference = self.data.images[2:6].clone()

    def __call__(self, images: Tensor, reference: Tensor) -> Tensor:
        """Measure images, against a reference where the metric compares."""
        return self.metric(images, reference if self.metric.compares else None)


def it_declares_what_it_is(subject: Subject) -> None:
    """`range`, `higher_is_better` and `statistic` are there, and make sense."""
    for name in ("range", "higher_is_better"):
        require(hasattr(subject.plugin, name), f"it has no attribute `{name}`")
    low, high = subject.plugin.range
    require(low < high, f"its range is {subject.plugin.range}")
    require(subject.plugin.statistic in ("median", "mean", "share"), f"its statistic is '{subject.plugin.statistic}'")


def one_float64_value_a_sample(subject: Subject) -> None:
    """A tensor (B,), float64, for one sample and several, in float32 and float64."""
    tried = Tried(subject)
    for dtype in (torch.float32, torch.float64):
        for count in (1, 4):
            found = tried(tried.images[:count].to(dtype), tried.reference[:count].to(dtype))
            require(found.shape == (count,), f"{count} samples gave shape {tuple(found.shape)}")
            require(found.dtype == torch.float64, f"values are {found.dtype}, not float64")


def values_stay_in_its_range(subject: Subject) -> None:
    """On images near the data, far from them, and on the data themselves; NaN aside."""
    tried = Tried(subject)
    low, high = tried.metric.range
    for images in (tried.images, 5 * tried.images, tried.data.images[:4], torch.zeros_like(tried.images)):
        found = tried(images, tried.reference)
        known = found[~torch.isnan(found)]
        inside = (known >= low - 1e-9) & (known <= high + 1e-9)
        require(bool(inside.all()), f"values {known[~inside].tolist()} leave the range {tried.metric.range}")


def samples_are_measured_one_by_one(subject: Subject) -> None:
    """A sample's value does not depend on the others."""
    tried = Tried(subject)
    whole = tried(tried.images, tried.reference)
    alone = torch.cat([tried(tried.images[n : n + 1], tried.reference[n : n + 1]) for n in range(4)])
    same = torch.isclose(whole, alone, rtol=1e-6, atol=1e-9, equal_nan=True)
    require(bool(same.all()), f"{whole.tolist()} together, {alone.tolist()} one by one")


def inputs_are_left_as_they_were(subject: Subject) -> None:
    """Neither images nor reference change; the same input gives the same value."""
    tried = Tried(subject)
    images, reference = tried.images.clone(), tried.reference.clone()
    first = tried(tried.images, tried.reference)
    require(torch.equal(images, tried.images), "it changed the images")
    require(torch.equal(reference, tried.reference), "it changed the reference")
    again = tried(tried.images, tried.reference)
    require(torch.equal(first.nan_to_num(9e9), again.nan_to_num(9e9)), "the second evaluation differs")


def nothing_is_closer_than_the_reference_itself(subject: Subject) -> None:
    """A metric that compares is best where the images are the reference."""
    tried = Tried(subject)
    if not tried.metric.compares:
        raise NotApplicable
    best = tried(tried.reference, tried.reference)
    for images in (tried.images, tried.reference + 0.1 * (tried.images - tried.images.mean())):
        other = tried(images, tried.reference)
        better = best >= other - 1e-12 if tried.metric.higher_is_better else best <= other + 1e-12
        require(bool((better | torch.isnan(best) | torch.isnan(other)).all()), "other images are closer than itself")


def options_survive_json(subject: Subject) -> None:
    """They come back as they were; each has a description."""
    subject.round_trip()


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        it_declares_what_it_is,
        one_float64_value_a_sample,
        values_stay_in_its_range,
        samples_are_measured_one_by_one,
        inputs_are_left_as_they_were,
        nothing_is_closer_than_the_reference_itself,
        options_survive_json,
    )
}
