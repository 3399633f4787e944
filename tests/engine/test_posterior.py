"""Partial posteriors: merging is exact, means stay in range, and neither order nor repetition of candidates counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from analytic_machines import MACHINES, denoise, uniform
from candidate_posteriors import noisy_case
from hypothesis import given, settings
from hypothesis import strategies as st

import mosaic
from mosaic.engine.posterior import after_ones, attend, energy_of


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
    head, tail = posterior_of(logits[:, :cut], values[:cut]), posterior_of(logits[:, cut:], values[cut:])
    for merged in (head.merge(tail), tail.merge(head)):
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


def test_one_training_image_comes_back_exactly() -> None:
    for precision in (np.float32, np.float64):
        image = uniform(0, 1, 3, 5, 4).astype(precision)
        x = (3 * uniform(1, 2, 3, 5, 4)).astype(precision)
        for machine, boundary, k in (("is", None, 0), ("ls", "zeros", 3), ("ls", "circular", 9)):
            for level in ((0.9, 1e-3), (0.1, 0.99), (1.0, 80.0)):
                result = denoise(machine, boundary, x, image, level, k)
                assert (result == image).all()


@MACHINES
def test_a_repeated_training_set_changes_nothing(machine: str, boundary: str | None) -> None:
    x, images, level = uniform(0, 2, 1, 4, 5), uniform(1, 3, 1, 4, 5), (0.7, 1.0)
    once = denoise(machine, boundary, x, images, level, 3)
    twice = denoise(machine, boundary, x, np.concatenate([images, images]), level, 3)
    np.testing.assert_allclose(twice, once, rtol=0, atol=1e-12)
    # ... but a single image repeated draws the posterior to itself, in the odds 4 : 1.
    weighted = np.concatenate([images, images[:1], images[:1], images[:1]])
    assert np.abs(denoise(machine, boundary, x, weighted, level, 3) - once).max() > 1e-3


@MACHINES
def test_order_of_the_training_images_does_not_matter(machine: str, boundary: str | None) -> None:
    x, images = uniform(0, 2, 1, 5, 4), uniform(1, 7, 1, 5, 4)
    order = np.random.default_rng(2).permutation(7)
    for level in ((0.9, 0.4), (1.0, 0.02)):
        np.testing.assert_allclose(
            denoise(machine, boundary, x, images[order], level, 3),
            denoise(machine, boundary, x, images, level, 3),
            rtol=0,
            atol=1e-12,
        )


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


def test_a_posterior_without_diagnostics_says_how_to_get_them() -> None:
    x, images, level = noisy_case(1, 0.4)
    actual = mosaic.ideal_posterior(x, images, level)
    for question in (actual.entropy, actual.candidate):
        with pytest.raises(mosaic.UsageError, match="diagnostics=True"):
            question()


def test_a_posterior_is_shown_by_its_shape() -> None:
    x, images, level = noisy_case(1, 0.4)
    assert repr(mosaic.ideal_posterior(x, images, level)) == "Posterior(B, C, H, W = (2, 1, 7, 6))"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attending_is_a_softmax_with_its_entropy_and_its_best(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(6, 30, generator=generator, dtype=torch.float64)
    logits[2, 7] = logits[2, 19] = 50.0
    values = torch.rand(30, 3, generator=generator, dtype=dtype)
    weights = torch.softmax(logits * math.log(2), dim=1)
    maximum, total, weighted, energy, best = attend(logits.clone(), after_ones(values), diagnostics=True)
    exact = 1e-6 if dtype == torch.float32 else 1e-13
    assert {tensor.dtype for tensor in (maximum, total, weighted, energy)} == {torch.float64}
    torch.testing.assert_close(weighted / total[:, None], weights @ values.double(), rtol=0, atol=exact)
    assert best.tolist() == logits.argmax(1).tolist()
    assert int(best[2]) == 7  # the first of equal ones
    entropy = torch.distributions.Categorical(weights).entropy()
    torch.testing.assert_close((total.log2() - energy / total) * math.log(2), entropy, rtol=0, atol=10 * exact)


@pytest.mark.parametrize("cut", [1, 12, 29])
def test_merging_keeps_entropy_and_the_first_of_equal_candidates(cut: int) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 6 * torch.randn(4, 30, generator=generator, dtype=torch.float64)
    logits[1, [3, 20]] = 60.0
    values = torch.rand(30, 1, generator=generator, dtype=torch.float64)

    def part(first: int, last: int) -> mosaic.Posterior:
        own = logits[:, first:last].clone()
        maximum, total, weighted, energy, best = attend(own, after_ones(values[first:last]), diagnostics=True)
        shaped = (tensor[:, None, None] for tensor in (maximum, total, weighted, energy, best + first))
        return mosaic.Posterior(*(t.movedim(-1, 1) if t.ndim == 4 else t for t in shaped))

    whole = part(0, 30)
    for merged in (part(0, cut).merge(part(cut, 30)), part(cut, 30).merge(part(0, cut))):
        torch.testing.assert_close(merged.entropy(), whole.entropy(), rtol=0, atol=1e-13)
        assert torch.equal(merged.source, whole.source)
        assert int(merged.source[1]) == 3


def test_energy_counts_a_weight_of_zero_as_nothing() -> None:
    weights = torch.tensor([[1.0, 0.0, 0.5, 0.25]])
    assert energy_of(weights, 1).tolist() == pytest.approx([0.5 * -1 + 0.25 * -2], abs=1e-7)
