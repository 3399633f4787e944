"""The checks that every metric must pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mosaic.errors import UsageError
from mosaic.interfaces.metric import Metric
from mosaic.testing.case import NotApplicable, PluginCase, require

__all__ = ["CHECKS"]


class MetricCase:
    """A metric under test, with images to measure."""

    def __init__(self, case: PluginCase) -> None:
        self.dataset = case.dataset
        if len(self.dataset) < 6:
            raise UsageError(
                f"Checks of a metric need six images; data set '{self.dataset.name}' has {len(self.dataset)}."
            )
        self.metric: Metric = case.plugin(case.parsed(), self.dataset)
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(self.dataset.images[:4].shape, generator=generator, dtype=torch.float32, device="cpu")
        self.images = self.dataset.images[:4] + 0.2 * noise
        self.reference = self.dataset.images[2:6].clone()

    def __call__(self, images: Tensor, reference: Tensor) -> Tensor:
        """Measure images, against a reference where the metric compares."""
        return self.metric(images, reference if self.metric.compares else None)


def it_declares_what_it_is(case: PluginCase) -> None:
    """`range`, `higher_is_better` and `statistic` exist and are valid."""
    for name in ("range", "higher_is_better"):
        require(hasattr(case.plugin, name), f"it has no attribute `{name}`")
    low, high = case.plugin.range
    require(low < high, f"its range is {case.plugin.range}")
    require(case.plugin.statistic in ("median", "mean", "share"), f"its statistic is '{case.plugin.statistic}'")


def one_float64_value_a_sample(case: PluginCase) -> None:
    """A tensor (B,), float64, for one sample and several, in float32 and float64."""
    measured = MetricCase(case)
    for dtype in (torch.float32, torch.float64):
        for count in (1, 4):
            values = measured(measured.images[:count].to(dtype), measured.reference[:count].to(dtype))
            require(values.shape == (count,), f"{count} samples gave shape {tuple(values.shape)}")
            require(values.dtype == torch.float64, f"values are {values.dtype}, not float64")


def values_stay_in_its_range(case: PluginCase) -> None:
    """Values (NaN aside) stay in `range` on the data, near them and far from them."""
    measured = MetricCase(case)
    low, high = measured.metric.range
    for images in (
        measured.images,
        5 * measured.images,
        measured.dataset.images[:4],
        torch.zeros_like(measured.images),
    ):
        values = measured(images, measured.reference)
        known = values[~torch.isnan(values)]
        inside = (known >= low - 1e-9) & (known <= high + 1e-9)
        require(bool(inside.all()), f"values {known[~inside].tolist()} leave the range {measured.metric.range}")


def samples_are_measured_one_by_one(case: PluginCase) -> None:
    """A sample's value does not depend on the others."""
    measured = MetricCase(case)
    whole = measured(measured.images, measured.reference)
    alone = torch.cat([measured(measured.images[n : n + 1], measured.reference[n : n + 1]) for n in range(4)])
    same = torch.isclose(whole, alone, rtol=1e-6, atol=1e-9, equal_nan=True)
    require(bool(same.all()), f"{whole.tolist()} together, {alone.tolist()} one by one")


def inputs_are_unchanged(case: PluginCase) -> None:
    """Neither images nor reference change; the same input gives the same value."""
    measured = MetricCase(case)
    images, reference = measured.images.clone(), measured.reference.clone()
    first = measured(measured.images, measured.reference)
    require(torch.equal(images, measured.images), "it changed the images")
    require(torch.equal(reference, measured.reference), "it changed the reference")
    again = measured(measured.images, measured.reference)
    require(torch.equal(first.nan_to_num(9e9), again.nan_to_num(9e9)), "the second evaluation differs")


def nothing_is_closer_than_the_reference_itself(case: PluginCase) -> None:
    """A metric that compares is best where the images are the reference."""
    measured = MetricCase(case)
    if not measured.metric.compares:
        raise NotApplicable
    best = measured(measured.reference, measured.reference)
    for images in (measured.images, measured.reference + 0.1 * (measured.images - measured.images.mean())):
        other = measured(images, measured.reference)
        better = best >= other - 1e-12 if measured.metric.higher_is_better else best <= other + 1e-12
        require(bool((better | torch.isnan(best) | torch.isnan(other)).all()), "other images are closer than itself")


def options_survive_json(case: PluginCase) -> None:
    """Options are the same after a round trip through JSON; each has a description."""
    case.check_options()


CHECKS: dict[str, Callable[[PluginCase], None]] = {
    check.__name__: check
    for check in (
        it_declares_what_it_is,
        one_float64_value_a_sample,
        values_stay_in_its_range,
        samples_are_measured_one_by_one,
        inputs_are_unchanged,
        nothing_is_closer_than_the_reference_itself,
        options_survive_json,
    )
}
