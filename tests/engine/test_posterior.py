"""Partial posteriors: merging is exact, means stay in range, and numbers do not depend on threads."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mosaic
from mosaic.engine.posterior import after_ones, attend


def posterior_of(logits: torch.Tensor, values: torch.Tensor) -> mosaic.Posterior:
    """The posterior of one pixel a row of logits (Q, M), with values (M, 1)."""
    maximum, total, weighted = attend(logits.clone(), after_ones(values))
    return mosaic.Posterior(maximum[:, None, None], total[:, None, None], weighted[:, :, None, None])


@given(st.integers(0, 10_000), st.integers(1, 39), st.floats(0.1, 3000))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_merging_any_two_parts_is_the_softmax_over_all(seed: int, cut: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 40, generator=generator, dtype=torch.float64) * spread
    values = torch.rand(40, 1, generator=generator, dtype=torch.float64)
    expected = torch.softmax(logits * math.log(2), dim=1) @ values
    one, other = posterior_of(logits[:, :cut], values[:cut]), posterior_of(logits[:, cut:], values[cut:])
    for merged in (one.merge(other), other.merge(one)):
        torch.testing.assert_close(merged.mean()[:, :, 0, 0], expected, rtol=0, atol=1e-13)


def test_a_part_that_is_far_below_another_neither_underflows_nor_counts() -> None:
    high = posterior_of(torch.tensor([[0.0]]), torch.tensor([[0.25]]))
    low = posterior_of(torch.tensor([[-1e8, -1e8]]), torch.tensor([[1.0], [-1.0]]))
    assert float(low.mean()) == 0
    assert float(high.merge(low).mean()) == float(low.merge(high).mean()) == 0.25


@pytest.mark.parametrize("score", ["is", "es", "ls", "els"])
@pytest.mark.parametrize("noise", [0.05, 0.5, 0.99])
def test_posterior_means_stay_within_the_range_of_the_data(score: str, noise: float) -> None:
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(400, 1, 12, 12, generator=generator) > 0.8).float() * 2 - 1
    images[:, :, :, :3] = -1  # as the border of MNIST: exactly -1 everywhere
    level = mosaic.Level(math.sqrt(1 - noise**2), noise)
    x = level.signal * images[:3] + noise * torch.randn(3, 1, 12, 12, generator=generator)
    mean = mosaic.registry().get("score", score)(None, mosaic.DataSet("d", images)).denoise(x, level, None, 5)
    assert float(mean.min()) >= -1 - (1e-12 if score == "es" else 0)
    assert float(mean.max()) <= 1
    if score in ("is", "ls"):  # every candidate of these pixels is -1
        assert bool((mean[:, :, :, :3] == -1).all())


@pytest.mark.parametrize("score", ["is", "es", "ls", "els"])
def test_numbers_do_not_depend_on_the_number_of_threads(score: str) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, 1, 16, 16, generator=generator) * 2 - 1
    x = torch.randn(2, 1, 16, 16, generator=generator)
    model = mosaic.registry().get("score", score)(None, mosaic.DataSet("d", images))
    results, threads = [], torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(model.denoise(x, mosaic.Level(0.6, 0.8), None, 5))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_other_dtypes_are_refused(tiny: mosaic.DataSet, dtype: torch.dtype) -> None:
    model = mosaic.registry().get("score", "els")(None, tiny)
    with pytest.raises(mosaic.UsageError, match=str(dtype)):
        model.denoise(torch.zeros(1, 1, 6, 5, dtype=dtype), mosaic.Level(0.6, 0.8), None, 3)


def test_a_level_without_noise_is_refused(tiny: mosaic.DataSet) -> None:
    model = mosaic.registry().get("score", "els")(None, tiny)
    with pytest.raises(mosaic.UsageError, match="positive"):
        model.denoise(torch.zeros(1, 1, 6, 5), mosaic.Level(1.0, 0.0), None, 3)


@pytest.mark.parametrize("candidates", ["images", "translates", "windows"])
def test_a_certain_posterior_is_what_a_posterior_comes_to_without_noise(candidates: str) -> None:
    images = torch.rand(5, 2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = images[[3, 1]].roll((1, 2), (2, 3)) + 0.01
    output = mosaic.Compute(diagnostics=True)

    def posterior(level: mosaic.Level) -> mosaic.Posterior:
        if candidates == "windows":
            return mosaic.equivariant_local_posterior(x, images, level, 3, "circular", compute=output)
        compare = mosaic.ideal_posterior if candidates == "images" else mosaic.equivariant_posterior
        return compare(x, images, level, compute=output)

    certain = posterior(mosaic.Level(1.0, 0.1)).certain(images)
    torch.testing.assert_close(certain.mean(), posterior(mosaic.Level(1.0, 1e-3)).mean(), rtol=0, atol=1e-9)
    assert float(certain.entropy().abs().max()) == 0.0
    assert (certain.total == 1).all()
