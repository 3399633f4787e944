"""The checks that every noise schedule must pass."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mosaic.interfaces.schedule import NoiseSchedule
from mosaic.testing.case import PluginCase, require

__all__ = ["CHECKS"]

TIMES = torch.linspace(0, 1, 101, dtype=torch.float64, device="cpu")


def _schedule(case: PluginCase) -> NoiseSchedule:
    schedule: NoiseSchedule = case.plugin(case.parsed())
    return schedule


def signal_and_noise_are_float64_like_t(case: PluginCase) -> None:
    """Two tensors of t's shape, for any shape; t does not change."""
    schedule = _schedule(case)
    for times in (TIMES.clone(), TIMES[:100].reshape(4, 25).clone(), TIMES[3].clone()):
        before = times.clone()
        for name, values in zip(("signal", "noise"), schedule.signal_noise(times), strict=True):
            require(
                values.shape == times.shape, f"{name} has shape {tuple(values.shape)} for t of {tuple(times.shape)}"
            )
            require(values.dtype == torch.float64, f"{name} is {values.dtype}, not float64")
        require(torch.equal(times, before), "signal_noise changed t")


def signal_is_positive_and_noise_not_negative(case: PluginCase) -> None:
    """At every t in [0, 1], and both are finite."""
    signal, noise = _schedule(case).signal_noise(TIMES.clone())
    require(bool((torch.isfinite(signal) & (signal > 0)).all()), "signal is not positive and finite everywhere")
    require(bool((torch.isfinite(noise) & (noise >= 0)).all()), "noise is negative or infinite somewhere")


def noise_over_signal_rises_with_t(case: PluginCase) -> None:
    """noise / signal rises strictly, so a level has only one time."""
    signal, noise = _schedule(case).signal_noise(TIMES.clone())
    ratio = noise / signal
    falls = torch.nonzero(ratio.diff() <= 0)
    require(
        len(falls) == 0, f"noise / signal does not rise after t = {float(TIMES[int(falls[0])]) if len(falls) else 0}"
    )


def it_is_vectorised(case: PluginCase) -> None:
    """Many times at once give what each gives alone."""
    schedule = _schedule(case)
    signal, noise = schedule.signal_noise(TIMES.clone())
    for n in range(0, len(TIMES), 7):
        signal_alone, noise_alone = schedule.signal_noise(TIMES[n].clone())
        same = torch.isclose(signal_alone, signal[n], rtol=1e-12) & torch.isclose(noise_alone, noise[n], rtol=1e-12)
        require(bool(same), f"t = {float(TIMES[n]):.2f} gives another level alone")


def time_is_the_inverse_of_level(case: PluginCase) -> None:
    """`time(level(t))` has the level of t."""
    schedule = _schedule(case)
    for t in TIMES[::10].tolist():
        level = schedule.level(t)
        again = schedule.level(schedule.time(level))
        apart = abs(again.noise - level.noise) + abs(again.signal - level.signal)
        require(apart <= 1e-5 * (level.noise + level.signal), f"the time of the level at t = {t} has {again}")


def options_survive_json(case: PluginCase) -> None:
    """Options are the same after a round trip through JSON; each has a description."""
    case.check_options()


CHECKS: dict[str, Callable[[PluginCase], None]] = {
    check.__name__: check
    for check in (
        signal_and_noise_are_float64_like_t,
        signal_is_positive_and_noise_not_negative,
        noise_over_signal_rises_with_t,
        it_is_vectorised,
        time_is_the_inverse_of_level,
        options_survive_json,
    )
}
