"""The grids of times that samplers have."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

import mosaic
from mosaic.interfaces.sampler import SamplerOptions, karras_times, leading_times, levels_at, uniform_times

SCHEDULES = ["cosine", "cosine-nichol", "linear", "exponential", "ddpm-linear", "flow", "edm"]


def schedule(name: str) -> mosaic.NoiseSchedule:
    made: mosaic.NoiseSchedule = mosaic.registry().make("schedule", name, {})
    return made


def test_a_run_visits_t_from_one_down_to_one_over_steps() -> None:
    assert uniform_times(4) == [1.0, 0.75, 0.5, 0.25]
    assert uniform_times(1) == [1.0]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("rho", [1.0, 7.0])
def test_the_karras_grid_is_equidistant_in_a_root_of_sigma(name: str, rho: float) -> None:
    steps = 9
    times = karras_times(schedule(name), steps, rho)
    assert (len(times), times[0], times[-1]) == (steps, 1.0, 1 / steps)
    roots = [level.ratio ** (1 / rho) for level in levels_at(schedule(name), times)]
    apart = (roots[-1] - roots[0]) / (steps - 1)
    assert [b - a for a, b in pairwise(roots)] == pytest.approx([apart] * (steps - 1), rel=1e-6)


def test_the_karras_grid_of_edm_is_its_own_uniform_one() -> None:
    assert karras_times(schedule("edm"), 20, 7.0) == pytest.approx(uniform_times(20), rel=1e-9)
    assert karras_times(schedule("cosine"), 1, 7.0) == [1.0]
    assert karras_times(schedule("cosine"), 2, 7.0) == [1.0, 0.5]


@pytest.mark.parametrize(
    ("steps", "indices"), [(1, [0]), (3, [666, 333, 0]), (10, [*range(900, -1, -100)]), (1000, [*range(999, -1, -1)])]
)
def test_the_leading_grid_is_that_of_training_timesteps_from_the_first_one_on(steps: int, indices: list[int]) -> None:
    times = leading_times(steps)
    assert times == pytest.approx([(n + 1) / 1000 for n in indices], abs=1e-15)
    assert mosaic.registry().make("sampler", "ddim", {"grid": "leading"}).times(schedule("edm"), steps) == times


def test_the_leading_grid_has_no_more_steps_than_a_training() -> None:
    with pytest.raises(mosaic.UsageError, match="1001"):
        leading_times(1001)


def test_rho_is_refused_where_the_grid_has_none() -> None:
    with pytest.raises(mosaic.UsageError, match=r"rho=5\.0 is not used with grid="):
        SamplerOptions.parse({"rho": "5"}, "sampler.x")
    with pytest.raises(mosaic.UsageError, match=r"rho=5\.0 is not used with grid="):
        SamplerOptions.parse({"grid": "leading", "rho": "5"}, "sampler.x")
    for rho in ("0", "-1", "nan", "inf"):
        with pytest.raises(mosaic.UsageError, match="'rho'"):
            SamplerOptions.parse({"grid": "karras", "rho": rho}, "sampler.x")
    with pytest.raises(mosaic.UsageError, match="'carras'"):
        SamplerOptions.parse({"grid": "carras"}, "sampler.x")
    for given in ({}, {"grid": "karras", "rho": "5"}):  # what is stored can be read again
        made = SamplerOptions.parse(given, "sampler.x")
        assert SamplerOptions.parse(made.model_dump(mode="json"), "sampler.x") == made


class Rising(mosaic.NoiseSchedule):
    """Less noise at higher t."""

    name = "rising"

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), 2 - t


def test_a_schedule_whose_noise_does_not_fall_is_refused() -> None:
    with pytest.raises(mosaic.UsageError, match="'rising'"):
        levels_at(Rising(), uniform_times(3))
