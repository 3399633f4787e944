"""How candidates are compared, what they weigh, and input that cannot be compared at all."""

from __future__ import annotations

import math
import re

import pytest
import torch
from candidate_posteriors import noisy_case
from torch import Tensor

import mosaic
from mosaic import Compute, Level
from mosaic.engine.compute import check_input, log_weights_of


@pytest.mark.parametrize("weights", [torch.ones(3, 7, 6), torch.zeros(20, 7, 6), torch.full((20, 7, 6), math.nan)])
def test_weights_that_cannot_be_used_are_refused(weights: Tensor) -> None:
    x, images, level = noisy_case(1, 0.4)
    with pytest.raises(mosaic.UsageError, match="weights"):
        mosaic.equivariant_local_posterior(x, images, level, 3, weights=weights)


@pytest.mark.parametrize(
    "function", ["ideal_posterior", "equivariant_posterior", "local_posterior", "equivariant_local_posterior"]
)
@pytest.mark.parametrize("fault", ["one image", "other size", "no noise"])
def test_input_that_does_not_fit_is_refused(function: str, fault: str) -> None:
    x, images, level = noisy_case(1, 0.4)
    scale = () if function in ("ideal_posterior", "equivariant_posterior") else (3,)
    x = {"one image": x[0], "other size": x[:, :, :5]}.get(fault, x)
    level = Level(1.0, 0.0) if fault == "no noise" else level
    named = str(level) if fault == "no noise" else str(tuple(x.shape))
    with pytest.raises(mosaic.UsageError, match=re.escape(named)):
        getattr(mosaic, function)(x, images, level, *scale)


@pytest.mark.parametrize("engine", ["fast", "", "Torch"])
def test_an_unknown_engine_is_refused_by_name(engine: str) -> None:
    with pytest.raises(mosaic.UsageError, match=f"'{engine}'.*auto, compiled, torch, reference"):
        Compute(engine)


def test_a_block_depends_on_the_kind_of_device_unless_it_is_given() -> None:
    processor, card = torch.device("cpu"), torch.device("cuda")
    assert [Compute(block=7).block_on(device) for device in (processor, card)] == [7, 7]
    assert Compute().block_on(processor) < Compute().block_on(card)
    assert Compute().block_on(processor) == Compute("torch", diagnostics=True).block_on(processor)


def test_weights_are_kept_as_their_logarithm_in_bits() -> None:
    actual = log_weights_of(torch.tensor([[0.5, 1.0], [2.0, 1024.0]]), 2, 2)
    assert actual is not None
    assert actual.tolist() == [[-1.0, 0.0], [1.0, 10.0]]
    assert actual.dtype == torch.float64
    assert log_weights_of(None, 2, 2) is None


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_each_weight_must_be_positive_and_finite(bad: float) -> None:
    weights = torch.ones(5)
    weights[3] = bad
    with pytest.raises(mosaic.UsageError, match="weights"):
        log_weights_of(weights, 5)


def test_weights_of_another_shape_are_refused_with_both_shapes() -> None:
    with pytest.raises(mosaic.UsageError, match=r"\(4, 1\).*\(4,\)"):
        log_weights_of(torch.ones(4, 1), 4)


@pytest.mark.parametrize(
    ("x", "images"),
    [
        ((2, 1, 5, 4), (3, 1, 4, 5)),
        ((2, 1, 4, 5), (3, 2, 4, 5)),
        ((1, 4, 5), (3, 1, 4, 5)),
        ((2, 1, 4, 5), (1, 4, 5)),
        ((2, 1, 4, 5), (0, 1, 4, 5)),
        ((0, 1, 4, 5), (3, 1, 4, 5)),
    ],
)
def test_shapes_that_do_not_fit_are_both_named(x: tuple[int, ...], images: tuple[int, ...]) -> None:
    with pytest.raises(mosaic.UsageError) as caught:
        check_input(torch.zeros(x), torch.zeros(images), Level(0.8, 0.6))
    assert str(x) in str(caught.value)
    assert str(images) in str(caught.value)


@pytest.mark.parametrize("level", [Level(0.0, 1.0), Level(1.0, 0.0)])
def test_a_level_without_a_posterior_is_refused_by_value(level: Level) -> None:
    with pytest.raises(mosaic.UsageError) as caught:
        check_input(torch.zeros(2, 1, 4, 5), torch.zeros(3, 1, 4, 5), level)
    assert str(level) in str(caught.value)
