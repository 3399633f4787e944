"""The UNet of pytorch-ddpm: its weights give what its code gives."""

from __future__ import annotations

import foreign_networks as oracle
import pytest
import torch
from foreign_files import TIMESTEPS, case, converted, images_like, stored

import mosaic
from mosaic_plugins.ddpm_unet import DDPMUNet

pytestmark = pytest.mark.filterwarnings("ignore::mosaic.MosaicWarning")  # that the schedule is assumed


@pytest.mark.parametrize("timestep", TIMESTEPS)
def test_converted_weights_give_what_the_port_gives(timestep: int) -> None:
    weights, x, data = case("ddpm")
    expected, exact = stored(f"ddpm_{timestep}"), oracle.ddpm(weights, x.double(), timestep)
    assert torch.allclose(exact.float(), expected, rtol=0, atol=3e-5)
    module = converted(weights, data).load()
    assert torch.allclose(module(x, torch.full((2,), float(timestep)), None), expected, rtol=0, atol=3e-5)
    t = torch.full((2,), timestep, dtype=torch.float64)
    assert torch.allclose(module.double()(x.double(), t, None), exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("t", [0.001, 0.37, 1.0])
def test_x0hat_is_that_of_eps_at_the_timestep(t: float) -> None:
    weights, x, data = case("ddpm")
    score = mosaic.score(converted(weights, data), data)
    level = score.schedule.level(t)
    eps = oracle.ddpm(weights, x.double(), 1000 * t - 1)
    expected = (x.double() - level.noise * eps) / level.signal
    assert torch.allclose(score.denoise(x.double(), t=t), expected, rtol=0, atol=1e-8 / level.signal)


def test_timesteps_lie_within_three_of_those_of_the_betas() -> None:
    """Of the discrete betas 1e-4 .. 0.02, which the schedule makes continuous."""
    made: mosaic.NoiseSchedule = mosaic.registry().make("schedule", "ddpm-linear", {})
    signal = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    ratios = (1 / signal - 1).sqrt().tolist()
    apart = [1000 * made.time_of_ratio(ratios[index]) - 1 - index for index in range(5, 990, 7)]
    assert max(map(abs, apart)) < 3.5


def test_sizes_are_read_off_the_weights() -> None:
    shapes = oracle.ddpm_shapes(3, 32, (1, 2, 2), 2, (0, 2), timesteps=50)
    checkpoint = converted(oracle.weights_of(shapes), images_like((3, 8, 8)))
    assert checkpoint.config.network_options == {
        "channels": 32,
        "multipliers": [1, 2, 2],
        "blocks": 2,
        "attention": [0, 2],
    }
    assert (checkpoint.config.schedule, checkpoint.convention.timesteps) == ("ddpm-linear", 50)


def test_another_embedding_of_time_is_not_recognised() -> None:
    weights, _, data = case("ddpm")
    table = "time_embedding.timembedding.0.weight"
    with pytest.raises(mosaic.DataError, match=r"weights\.pt.*ddpm-unet"):
        converted({**weights, table: weights[table].flip(1)}, data)


def test_sides_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(mosaic.UsageError, match=r"multiples of 8.*28 x 28"):
        DDPMUNet(DDPMUNet.Options()).check((1, 28, 28))
    with pytest.raises(mosaic.UsageError, match="multipliers"):
        DDPMUNet.Options.parse({"multipliers": (0,)}, "network.ddpm-unet")
