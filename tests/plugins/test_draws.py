"""Draws of score models: what they depend on, and that they depend on nothing else."""

from __future__ import annotations

import pytest
import torch

import mosaic
from mosaic_plugins.draws import generator_for

LEVEL = mosaic.Level(0.8, 0.6)


def drawn(sample: torch.Tensor, level: mosaic.Level = LEVEL, seed: int = 0) -> torch.Tensor:
    generator = generator_for(sample, level, seed)
    return torch.randn(8, generator=generator, dtype=torch.float64, device="cpu")


def sample(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(3, 4, 5, generator=generator, dtype=torch.float32, device="cpu")


def test_draws_are_those_of_the_sample_whatever_else_was_drawn() -> None:
    before = drawn(sample())
    torch.manual_seed(3)
    assert torch.equal(drawn(sample()), before)


@pytest.mark.parametrize(
    "other",
    [
        drawn(sample(1)),
        drawn(sample(), mosaic.Level(0.8, 0.61)),
        drawn(sample(), mosaic.Level(0.81, 0.6)),
        drawn(sample(), seed=1),
    ],
    ids=["sample", "noise", "signal", "seed"],
)
def test_draws_differ_with_all_that_identifies_an_evaluation(other: torch.Tensor) -> None:
    assert not torch.equal(drawn(sample()), other)


def test_draws_are_the_same_in_either_precision_memory_layout_sign_of_zero_and_after_rounding_errors() -> None:
    x = sample()
    x[0, 0, 0] = 0.0
    negative = x.clone()
    negative[0, 0, 0] = -0.0
    strided = x.transpose(1, 2).contiguous().transpose(1, 2)
    for same in (x.double(), negative, strided, x * (1 + 1e-6), x - 1e-6):
        assert torch.equal(drawn(same), drawn(x))


def test_draws_tell_samples_apart_at_the_scale_of_their_level() -> None:
    exploding = mosaic.Level(1.0, 80.0)
    noise = 80 * sample()
    assert torch.equal(drawn(noise, exploding), drawn(noise + 1e-4, exploding))
    assert not torch.equal(drawn(noise, exploding), drawn(noise + 20, exploding))
    for magnitude in (0.0, 1e12):  # far out, too, it gives draws
        assert bool(torch.isfinite(drawn(magnitude * noise, exploding)).all())
