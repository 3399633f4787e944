"""Noise schedules: levels, the time of a level, and times outside of them; the formulas are those of the plugins."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mosaic

NAMES = ["cosine", "cosine-nichol", "linear", "exponential", "ddpm-linear", "flow", "edm"]


def schedule(name: str) -> mosaic.NoiseSchedule:
    kind: type[mosaic.NoiseSchedule] = mosaic.registry().get("schedule", name)
    return kind()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("t", [-1e-9, 1.0000001, 20.0, math.nan, math.inf])
def test_level_refuses_times_outside_the_unit_interval(name: str, t: float) -> None:
    with pytest.raises(ValueError, match=rf"{t}.*\[0, 1\]"):
        schedule(name).level(t)


@pytest.mark.parametrize("name", NAMES)
def test_the_time_of_a_level_is_the_inverse_of_the_level_of_a_time(name: str) -> None:
    own = schedule(name)
    for t in (0.0, 1e-3, 0.05, 0.37, 0.5, 0.95, 0.99):
        assert math.isclose(own.time(own.level(t)), t, abs_tol=1e-7), t
    ends = own.time(own.level(1.0))
    assert own.level(ends) == own.level(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_time_of_a_ratio_is_that_of_its_level(name: str) -> None:
    own = schedule(name)
    for t in (0.1, 0.5, 0.9):
        assert own.time_of_ratio(own.level(t).ratio) == pytest.approx(t, abs=1e-9)
    for ratio in (2 * own.level(1.0).ratio, own.level(0.0).ratio - 1e-3, math.nan):
        with pytest.raises(ValueError, match=re.escape(f"{ratio:.3g}")):
            own.time_of_ratio(ratio)


def test_a_level_of_another_schedule_has_no_time() -> None:
    for level in (mosaic.Level(0.5, 0.5), mosaic.Level(1e-6, 1.0)):
        with pytest.raises(ValueError, match=f"signal={level.signal}, noise={level.noise}"):
            schedule("cosine").time(level)


class Stairs(mosaic.NoiseSchedule):
    """Noise that rises by a kink at t = 0.5, and keeps single precision."""

    name = "stairs"

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        assert t.dtype == torch.float64
        return torch.full_like(t, 2.0).float(), torch.where(t < 0.5, t, 3 * t - 1).float()


def test_a_level_is_two_numbers_of_the_schedules_formula() -> None:
    level = Stairs().level(0.75)
    assert (level.signal, level.noise, level.ratio) == (2.0, 1.25, 0.625)
    assert {type(level.signal), type(level.noise)} == {float}


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_time_of_a_level_needs_no_smoothness(t: float) -> None:
    assert Stairs().time(Stairs().level(t)) == pytest.approx(t, abs=1e-7)


@pytest.mark.parametrize(("relative", "known"), [(1e-8, True), (1e-4, False)])
def test_levels_agree_to_one_part_in_a_million(relative: float, known: bool) -> None:
    level = schedule("cosine").level(0.4)
    near = mosaic.Level(level.signal * (1 + relative), level.noise)
    if known:
        assert schedule("cosine").time(near) == pytest.approx(0.4, abs=1e-6)
    else:
        with pytest.raises(ValueError, match=str(near.signal)):
            schedule("cosine").time(near)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_scaled_to_the_level_of_equal_ratio(name: str) -> None:
    own, x = schedule(name), torch.randn(2, 1, 3, 3, dtype=torch.float64)
    scaled, level = own.rescaled(x, mosaic.Level(2.0, 1.4))
    assert math.isclose(level.ratio, 0.7, rel_tol=1e-9)
    assert own.time(level) >= 0
    torch.testing.assert_close(scaled / level.signal, x / 2)
    beyond = mosaic.Level(1.0, 1e12)
    assert own.rescaled(x, beyond) == (x, beyond)


@pytest.mark.parametrize(
    "parts",
    [("a", 1.0), (None, 1.0), (-1.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)],
)
def test_a_level_is_two_finite_numbers_of_at_least_zero(parts: tuple[Any, Any]) -> None:
    with pytest.raises(mosaic.UsageError, match="Level"):
        mosaic.Level(*parts)
    assert mosaic.Level(np.float64(2), 1).ratio == 0.5
    assert mosaic.Level(0.0, 1.0).ratio == math.inf
