"""For each check of metrics one that is wrong in just that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from conformance_checks import Undescribed, assert_caught, assert_passes, check_of
from torch import Tensor

import mosaic
import mosaic.testing
from mosaic.testing.metrics import CHECKS


def spoil(x: Tensor, x0hat: Tensor) -> Tensor:
    x += 1
    return x0hat


class Apart(mosaic.Metric):
    """Right: mean absolute difference."""

    name = "apart"
    range = (0.0, float("inf"))
    higher_is_better = False

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        assert reference is not None
        return (images.double() - reference.double()).abs().mean((1, 2, 3))


def measuring(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> type[Apart]:
    class Wrong(Apart):
        def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
            assert reference is not None
            return change(images, reference, super().__call__(images, reference))

    return Wrong


class Unbounded(Apart):
    range = (1.0, 1.0)


class ForgetfulMetric(Apart):
    Options = Undescribed


WRONG: dict[str, type[mosaic.Metric]] = {
    "it_declares_what_it_is": Unbounded,
    "one_float64_value_a_sample": measuring(lambda images, reference, value: value.float()),
    "values_stay_in_its_range": measuring(lambda images, reference, value: value - 1),
    "samples_are_measured_one_by_one": measuring(lambda images, reference, value: value / value.max()),
    "inputs_are_unchanged": measuring(lambda images, reference, value: spoil(images, value)),
    "nothing_is_closer_than_the_reference_itself": measuring(lambda images, reference, value: 1 / (1 + value)),
    "options_survive_json": ForgetfulMetric,
}


def test_what_is_right_passes() -> None:
    assert_passes("metric", Apart)


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_check_catches_what_is_wrong(name: str) -> None:
    assert_caught("metric", WRONG[name], name)


class Alone(Apart):
    """Measures images without a reference: how bright they are."""

    compares = False
    range = (-1.0, 1.0)

    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        assert reference is None
        return images.double().mean((1, 2, 3)).clamp(-1, 1)


def test_a_metric_without_a_reference_gets_none_and_is_not_compared() -> None:
    outcomes = mosaic.testing.check_metric(Alone)
    assert outcomes.pop("nothing_is_closer_than_the_reference_itself") == "does not apply"
    assert set(outcomes.values()) == {"passed"}


def test_values_outside_the_range_are_named() -> None:
    wrong = measuring(lambda images, reference, value: torch.where(value > 0.5, -7.5, value))
    assert_caught("metric", wrong, "values_stay_in_its_range", r"-7\.5.*\(0\.0, inf\)")


@pytest.mark.parametrize("count", [5, 6])
def test_a_metric_is_checked_on_six_images_or_more(tiny: mosaic.DataSet, count: int) -> None:
    check = check_of("metric", Apart, "one_float64_value_a_sample", dataset=tiny.select(torch.arange(count)))
    if count == 6:
        assert check() == "passed"
    else:
        with pytest.raises(mosaic.testing.NotConforming, match=r"'tiny'.* 5") as caught:
            check()
        assert isinstance(caught.value.__cause__, mosaic.UsageError)
