"""Samplers and noise: the reverse flow on distributions whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

import mosaic
from mosaic.noise import StepNoise, initial_noise, random_labels, sample_seed
from mosaic.sampler import SAMPLERS, reverse_flow, reverse_levels, reverse_times

SCHEDULES = ("cosine", "cosine-nichol", "linear", "exponential", "ddpm-linear", "flow", "edm")


def gaussian_flow(schedule: str, sampler: str, steps: int, variance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Start and end of the flow with the exact posterior mean of data ~ N(0, variance) in one dimension."""
    levels = reverse_levels(mosaic.registry().get("schedule", schedule)(), steps)
    batch = range(4000)
    x = initial_noise(0, batch, (1, 1, 1)).double()
    if sampler == "ddpm" or schedule in ("linear", "exponential"):
        # Start from the true marginal, which these schedules do not bring close to pure noise.
        x = x * math.sqrt(levels[0].signal ** 2 * variance + levels[0].noise ** 2)
    else:
        x = x * levels[0].noise

    def denoise(state: torch.Tensor, index: int) -> torch.Tensor:
        a, s = levels[index].signal, levels[index].noise
        return a * variance / (a**2 * variance + s**2) * state

    generator = torch.Generator().manual_seed(1)

    def draw(state: torch.Tensor) -> torch.Tensor:
        return torch.randn(state.shape, generator=generator, dtype=state.dtype)

    flow = list(reverse_flow(denoise, x, levels, SAMPLERS[sampler], draw))
    assert [step.index for step in flow] == list(range(steps))
    return x, flow[-1].denoised


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddim_carries_a_gaussian_to_its_variance_and_keeps_the_order_of_samples(schedule: str) -> None:
    start, end = gaussian_flow(schedule, "ddim", 400, 0.25)
    assert float(end.var()) == pytest.approx(0.25, rel=0.1)
    # The flow of a centred Gaussian only rescales: a deterministic map, no noise added.
    assert float((end / start).std() / (end / start).mean()) < 1e-9


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ddpm_keeps_the_marginal_variance_with_fresh_noise(schedule: str) -> None:
    start, end = gaussian_flow(schedule, "ddpm", 400, 0.25)
    assert float(end.var()) == pytest.approx(0.25, rel=0.12)
    correlation = torch.corrcoef(torch.stack([start.flatten(), end.flatten()]))[0, 1]
    assert float(correlation) < 0.9  # under DDIM it is 1


def test_one_ddim_and_one_ddpm_step_by_hand() -> None:
    level, following = mosaic.Level(0.6, 0.8), mosaic.Level(0.8, 0.6)
    x, denoised = torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 1), 0.5)
    eps = (1.0 - 0.6 * 0.5) / 0.8
    ddim = SAMPLERS["ddim"](x, denoised, level, following, torch.ones_like)
    assert float(ddim) == pytest.approx(0.8 * 0.5 + 0.6 * eps)
    sigma = math.sqrt(0.36 * (1 - (0.6 * 0.6 / (0.8 * 0.8)) ** 2))
    ddpm = SAMPLERS["ddpm"](x, denoised, level, following, torch.ones_like)
    assert float(ddpm) == pytest.approx(0.8 * 0.5 + math.sqrt(0.36 - sigma**2) * eps + sigma)


def test_a_run_visits_t_from_one_down_to_one_over_steps() -> None:
    assert reverse_times(4) == [1.0, 0.75, 0.5, 0.25]
    assert reverse_times(1) == [1.0]


def test_noise_depends_on_seed_and_sample_only() -> None:
    shape = (1, 3, 3)
    whole = initial_noise(7, range(5), shape)
    assert torch.equal(whole[3:], initial_noise(7, range(3, 5), shape))
    assert not torch.equal(whole[0], initial_noise(8, range(1), shape)[0])
    x = torch.zeros(5, *shape)
    together, alone = StepNoise([sample_seed(7, i) for i in range(5)]), StepNoise([sample_seed(7, 3)])
    for _ in range(3):
        assert torch.equal(together(x)[3], alone(x[:1])[0])
    assert len({sample_seed(s, i) for s in range(30) for i in range(30)}) == 900


def test_noise_is_standard_normal_and_differs_between_steps_and_samples() -> None:
    draws = initial_noise(0, range(200), (1, 10, 10))
    assert float(draws.mean()) == pytest.approx(0, abs=0.03)
    assert float(draws.std()) == pytest.approx(1, abs=0.03)
    steps = StepNoise([sample_seed(0, i) for i in range(200)])
    first, second = steps(draws), steps(draws)
    for other in (first, second):
        assert abs(float((draws * other).mean())) < 0.03
    assert abs(float((first * second).mean())) < 0.03


def test_random_labels_do_not_depend_on_the_number_of_samples() -> None:
    labels = random_labels(0, 300, [2, 5, 7])
    assert labels[:10] == random_labels(0, 10, [2, 5, 7])
    assert all(80 < labels.count(c) < 120 for c in (2, 5, 7))
