"""For each check of networks one that is wrong in just that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conformance_checks import Undescribed, assert_caught, assert_passes, check_of
from torch import Tensor, nn

import mosaic
from mosaic.testing.case import PluginCase
from mosaic.testing.networks import CHECKS, NetworkCase


class Small(nn.Module):
    """Right: two convolutions, with the time added between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 6, 3, padding=1), nn.Conv2d(6, channels, 3, padding=1)
        self.time = nn.Linear(1, 6)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.first(x) + self.time(t[:, None])[:, :, None, None]
        eps: Tensor = self.second(nn.functional.silu(h))
        return eps


class Convolutions(mosaic.Network):
    name = "convolutions"
    module: type[nn.Module] = Small

    def build(self, channels: int, classes: int) -> nn.Module:
        return self.module(channels)

    def receptive_field(self) -> int | None:
        return 5


def building(change: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor], extra: bool = False) -> type[Convolutions]:
    class Module(Small):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            if extra:
                self.idle = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            return change(self, x, t, super().forward(x, t, labels))

    class Wrong(Convolutions):
        module = Module

    return Wrong


class Random(Convolutions):
    def build(self, channels: int, classes: int) -> nn.Module:
        torch.seed()
        return Small(channels)


class Narrow(Convolutions):
    def receptive_field(self) -> int | None:
        return 3


class ForgetfulNetwork(Convolutions):
    Options = Undescribed


WRONG: dict[str, type[mosaic.Network]] = {
    "prediction_is_like_x": building(lambda module, x, t, eps: eps[:, :, 1:]),
    "torch_seed_decides_its_weights": Random,
    "evaluation_is_deterministic": building(lambda module, x, t, eps: eps + 1e-3 * torch.randn(eps.shape)),
    "every_weight_can_be_trained": building(lambda module, x, t, eps: eps, extra=True),
    "time_matters": building(lambda module, x, t, eps: Small.forward(module, x, 0 * t)),  # type: ignore[arg-type]
    "its_receptive_field_is_what_it_says": Narrow,
    "options_survive_json": ForgetfulNetwork,
}
# What the message says: the parameter without a gradient; two convolutions of 3 x 3 see 5 pixels, not 3.
SAID = {"every_weight_can_be_trained": "idle$", "its_receptive_field_is_what_it_says": "5 .*3$"}


def test_what_is_right_passes() -> None:
    assert_passes("network", Convolutions)


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_check_catches_what_is_wrong(name: str) -> None:
    assert_caught("network", WRONG[name], name, SAID.get(name, ""))


class Unbounded(Convolutions):
    """Names no receptive field."""

    def receptive_field(self) -> int | None:
        return None


def test_a_network_without_a_receptive_field_is_not_checked_for_it() -> None:
    assert check_of("network", Unbounded, "its_receptive_field_is_what_it_says")() == "does not apply"


def test_an_untrained_network_that_gives_nan_is_caught() -> None:
    assert_caught("network", building(lambda module, x, t, eps: eps / 0), "prediction_is_like_x")


def told(**words: Any) -> type[Convolutions]:
    """Give a network of a convention."""

    class Other(Convolutions):
        convention = mosaic.Convention(**words)

    return Other


SIGMAS = [math.tan(math.pi / 2 * t / 1.008) for t in (0.1, 0.5, 1.0)]


@pytest.mark.parametrize(
    ("words", "times", "factors"),
    [
        ({"time": "t"}, [0.1, 0.5, 1.0], [1.0] * 3),
        ({"time": "timestep"}, [99, 499, 999], [1.0] * 3),
        ({"time": "timestep", "timesteps": 100}, [9, 49, 99], [1.0] * 3),
        ({"time": "sigma", "prediction": "x0"}, SIGMAS, [math.hypot(1, sigma) for sigma in SIGMAS]),
        (
            {"preconditioning": "edm"},
            [math.log(sigma) / 4 for sigma in SIGMAS],
            [math.hypot(1, sigma) / math.hypot(0.5, sigma) for sigma in SIGMAS],
        ),
        (
            {"prediction": "flow"},
            [sigma / (1 + sigma) for sigma in SIGMAS],
            [math.hypot(1, sigma) / (1 + sigma) for sigma in SIGMAS],
        ),
    ],
)
def test_a_network_is_given_what_its_convention_says(
    words: dict[str, Any], times: list[float], factors: list[float]
) -> None:
    assert_passes("network", told(**words))
    plain, inputs = (NetworkCase(PluginCase(kind)) for kind in (Convolutions, told(**words)))
    assert inputs.told.tolist() == pytest.approx(times)
    torch.testing.assert_close(inputs.x, plain.x * torch.tensor(factors)[:, None, None, None])


def test_a_network_that_is_told_a_level_is_caught() -> None:
    assert_caught("network", told(time="level"), "prediction_is_like_x", "numbers")
