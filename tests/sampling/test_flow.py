"""Samplers and noise: the reverse flow on distributions whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

import mosaic
from mosaic.sampling.flow import SAMPLERS, reverse_flow, reverse_levels, reverse_times
from mosaic.sampling.noise import initial_noise

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


def test_a_schedule_whose_noise_does_not_fall_is_refused():
    class Rising(mosaic.NoiseSchedule):
        """Less noise at higher t."""

        name = "rising"

        def signal_noise(self, t):
            return torch.ones_like(t), 2 - t

    with pytest.raises(mosaic.UsageError, match="'rising'"):
        reverse_levels(Rising(), 3)
