"""For each check of noise schedules one that is wrong in just that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
from conformance_checks import Undescribed, assert_caught, assert_passes
from torch import Tensor

import mosaic
import mosaic.testing
from mosaic.testing.schedules import CHECKS, TIMES


class Flow(mosaic.NoiseSchedule):
    """Right: signal 1 - 0.99 t, noise t."""

    name = "flow-like"

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - 0.99 * t, t.clone()


def scheduling(change: Callable[[Tensor], tuple[Tensor, Tensor]]) -> type[Flow]:
    class Wrong(Flow):
        def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
            return change(t)

    return Wrong


class Timeless(Flow):
    def time(self, level: mosaic.Level) -> float:
        return 0.3


class ForgetfulFlow(Flow):
    Options = Undescribed


WRONG: dict[str, type[mosaic.NoiseSchedule]] = {
    "signal_and_noise_are_float64_like_t": scheduling(lambda t: ((1 - 0.99 * t).float(), t.float())),
    "signal_is_positive_and_noise_not_negative": scheduling(lambda t: (1 - t, t.clone())),
    "noise_over_signal_rises_with_t": scheduling(lambda t: (torch.ones_like(t), (3 * t).sin().abs())),
    "it_is_vectorised": scheduling(lambda t: (torch.ones_like(t), t / t.max().clamp_min(1e-3) * t)),
    "time_is_the_inverse_of_level": Timeless,
    "options_survive_json": ForgetfulFlow,
}


def test_what_is_right_passes() -> None:
    assert_passes("schedule", Flow)


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_check_catches_what_is_wrong(name: str) -> None:
    assert_caught("schedule", WRONG[name], name)


def test_the_time_after_which_the_ratio_falls_is_named() -> None:
    """|sin 3t| rises until t = pi / 6 = 0.5236, so between multiples of 0.01 it falls first after 0.52."""
    name = "noise_over_signal_rises_with_t"
    assert_caught("schedule", WRONG[name], name, r"t = 0\.52$")


def test_a_schedule_that_changes_t_is_caught_and_spoils_no_later_check() -> None:
    wrong = scheduling(lambda t: (1 - 0.99 * t, t.mul_(0.5)))
    for name in ("signal_and_noise_are_float64_like_t", "it_is_vectorised", "noise_over_signal_rises_with_t"):
        with suppress(mosaic.testing.NotConforming):
            next(check for check in mosaic.testing.checks_of("schedule", wrong) if check.name == name)()
    assert torch.equal(TIMES, torch.linspace(0, 1, 101, dtype=torch.float64))
    assert_caught("schedule", wrong, "signal_and_noise_are_float64_like_t", "changed t$")
