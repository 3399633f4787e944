"""Noise schedules: continuous time t in [0, 1] to a noise level (signal, noise)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from mosaic.errors import UsageError, shown
from mosaic.interfaces.options import Options as PluginOptions

__all__ = ["Level", "NoiseSchedule"]


@dataclass(frozen=True)
class Level:
    """A noise level of the forward process x_t = signal x_0 + noise eps; never snapped to a grid.

    Neither is negative, and they need not be variance preserving. Without signal there is noise alone, at which a
    posterior has a limit; score models need a positive signal. The analytic machines depend on the level only through
    x / signal and noise / signal.
    """

    signal: float
    noise: float

    def __post_init__(self) -> None:
        are_numbers = all(isinstance(part, Real) for part in (self.signal, self.noise))
        if not (are_numbers and 0 <= self.signal < math.inf and 0 <= self.noise < math.inf):  # with NaN both are false
            raise UsageError(
                f"A mosaic.Level has a signal and a noise of at least 0, not {shown(self.signal)} and "
                f"{shown(self.noise)}; `level(t)` of a noise schedule gives one."
            )

    @property
    def ratio(self) -> float:
        """Noise-to-signal ratio, noise / signal: what decides a locality scale."""
        return self.noise / self.signal if self.signal else math.inf


class NoiseSchedule(ABC):
    """Interface of a noise schedule plugin; subclass it, give it a `name` and register it.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[mosaic.Options]
        The schedule's options.
    references : tuple of str
        BibTeX entries of what it computes; `mosaic cite` prints them for results that used it.
    """

    name: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[PluginOptions]] = PluginOptions

    def __init__(self, options: PluginOptions | None = None) -> None:
        self.options = options if options is not None else self.Options()

    @abstractmethod
    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give signal and noise at the times `t` (any shape, float64, in [0, 1]): two tensors like `t`.

        Pure and vectorised. Noise over signal must rise with t.
        """

    def level(self, t: float) -> Level:
        """Give the noise level at one time `t` in [0, 1].

        Raises
        ------
        ValueError
            If `t` lies outside [0, 1].
        """
        if not 0.0 <= t <= 1.0:
            raise ValueError(f"Time t = {t} lies outside [0, 1].")
        signal, noise = self.signal_noise(torch.tensor(t, dtype=torch.float64, device="cpu"))
        return Level(float(signal), float(noise))

    def time(self, level: Level) -> float:
        """Give the time t at which this schedule has a level: the inverse of `level`.

        Raises
        ------
        ValueError
            If this schedule does not have the level, to one part in a million.
        """
        ends = [t for t in (0.0, 1.0) if _agree(self.level(t), level)]
        try:
            t = ends[0] if ends else self.time_of_ratio(level.ratio)
        except ValueError:
            t = 0.0  # it is not a level of this schedule either
        if not _agree(self.level(t), level):
            raise ValueError(f"{level} is not a level of this schedule.")
        return t

    def time_of_ratio(self, ratio: float) -> float:
        """Give the time t at which this schedule has a noise-to-signal ratio.

        Raises
        ------
        ValueError
            If its ratios, to one part in a million, do not go so far.
        """
        for t in (0.0, 1.0):
            if math.isclose(self.level(t).ratio, ratio, rel_tol=1e-6, abs_tol=1e-9):
                return t
        low, high = 0.0, 1.0
        if not self.level(low).ratio < ratio < self.level(high).ratio:
            raise ValueError(f"This schedule has no noise-to-signal ratio {ratio:.3g}.")
        parts = torch.arange(1025, dtype=torch.float64, device="cpu") / 1024
        for _ in range(6):  # the ratio rises with t: six times one of 1024 parts of the interval, to the last bit
            times = low + (high - low) * parts
            signal, noise = self.signal_noise(times)
            below = int((noise[1:-1] < ratio * signal[1:-1]).sum())
            low, high = float(times[below]), float(times[below + 1])
        return high

    def rescaled(self, x: Tensor, level: Level) -> tuple[Tensor, Level]:
        """Scale x to this schedule's level of the same noise-to-signal ratio, for models that need its time.

        x0hat depends on x / signal and noise / signal alone. A level beyond this schedule's range stays as it is;
        analytic machines take it.
        """
        try:
            own = self.level(self.time_of_ratio(level.ratio))
        except ValueError:
            return x, level
        return (x, level) if _agree(own, level) else (x * (own.signal / level.signal), own)


def _agree(level: Level, other: Level) -> bool:
    return math.isclose(level.signal, other.signal, rel_tol=1e-6, abs_tol=1e-9) and math.isclose(
        level.noise, other.noise, rel_tol=1e-6, abs_tol=1e-9
    )
