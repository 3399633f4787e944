"""The UNet of pytorch-ddpm: its weights give what its code gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import foreign_networks as oracle
import pytest
import torch
from foreign_files import TIMESTEPS, case, converted, images_like, stored
from torch import Tensor

import mosaic
from mosaic.storage.document import document_text, parse_document
from mosaic_plugins.ddpm_unet import DDPMModule, DDPMUNet

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


SMALL: dict[str, Any] = {"channels": 32, "multipliers": (1, 1), "blocks": 1}


def trained(**settings: Any) -> mosaic.Checkpoint:
    settings = {"epochs": 1, "batch_size": 3, "precision": "float32", "network_options": SMALL, **settings}
    return mosaic.train("ddpm-unet", images_like((1, 8, 8)), out="own", **settings)


def test_trained_here_it_is_told_timesteps_then_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Tensor] = []
    forward = DDPMModule.forward

    def recorded(self: DDPMModule, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        told.append(t.clone())
        return forward(self, x, t, labels)

    monkeypatch.setattr(DDPMModule, "forward", recorded)
    checkpoint = trained()
    assert len(told) == 2
    assert all(1 < each.max() <= 999 for each in told)
    told.clear()
    score = mosaic.score(checkpoint, images_like((1, 8, 8)))
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    actual = score.denoise(x, t=0.4)
    assert torch.allclose(told[0], torch.full((2,), 399.0, dtype=torch.float64))
    level = score.schedule.level(0.4)
    eps = checkpoint.load().double()(x, torch.full((2,), 399.0, dtype=torch.float64), None)
    assert torch.allclose(actual, (x - level.noise * eps) / level.signal, rtol=0, atol=1e-8)


def test_one_that_an_earlier_version_trained_is_told_t_and_is_not_trained_on() -> None:
    trained()
    path = Path("own", "checkpoint.json")
    kept = {key: value for key, value in parse_document(path.read_bytes()).items() if key != "convention"}
    path.write_text(document_text(kept))
    assert mosaic.load_checkpoint("own").convention == mosaic.Convention()
    with pytest.raises(mosaic.UsageError, match=r"convention\.time"):
        trained(epochs=2, resume=True)


def test_timesteps_lie_within_three_and_a_half_of_those_of_the_betas() -> None:
    """Of the discrete betas 1e-4 .. 0.02, which the schedule makes continuous: it ends at the noise of step 995."""
    made: mosaic.NoiseSchedule = mosaic.registry().make("schedule", "ddpm-linear", {})
    signal = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    ratios = (1 / signal - 1).sqrt().tolist()
    apart = [1000 * made.time_of_ratio(ratios[index]) - 1 - index for index in range(0, 996, 5)]
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


@pytest.mark.parametrize(("attention", "named"), [((2,), r"\b2\b.*0 to 1"), ((-3,), "attention"), ((0, 7), r"\b7\b")])
def test_attention_at_a_resolution_that_is_not_there_is_refused(attention: tuple[int, ...], named: str) -> None:
    options = {"channels": 32, "multipliers": (1, 1), "attention": attention}
    with pytest.raises(mosaic.UsageError, match=named):
        DDPMUNet.Options.parse(options, "network.ddpm-unet")
