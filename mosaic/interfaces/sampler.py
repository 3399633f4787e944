"""Samplers: from noise to an image, step by step along the reverse flow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from mosaic.errors import UsageError
from mosaic.interfaces.options import Options as PluginOptions
from mosaic.interfaces.schedule import Level, NoiseSchedule

__all__ = [
    "Denoise",
    "Draw",
    "Sampler",
    "SamplerOptions",
    "Step",
    "karras_times",
    "leading_times",
    "levels_at",
    "uniform_times",
]

TIMESTEPS = 1000  # of trainings that count them (Ho et al. 2020)

Denoise = Callable[[Tensor, Level, int], Tensor]
Draw = Callable[[Tensor], Tensor]


@dataclass
class Step:
    """One step of a sampler. Whoever iterates may change `following`; the sampler goes on from it.

    Attributes
    ----------
    index : int
        Number of the step; 0 is the noisiest.
    state : Tensor (B, C, H, W)
        x at the level of the step.
    denoised : Tensor (B, C, H, W)
        x0hat of that state; where the sampler first adds noise to it (churn), x0hat of the noisier state.
    following : Tensor (B, C, H, W)
        The state after the step, at the next level. After the last step it is the image, at noise 0.
    """

    index: int
    state: Tensor
    denoised: Tensor
    following: Tensor


def uniform_times(steps: int) -> list[float]:
    """Times t = T/T, (T-1)/T, ..., 1/T of a run of T steps."""
    return [i / steps for i in range(steps, 0, -1)]


def karras_times(schedule: NoiseSchedule, steps: int, rho: float) -> list[float]:
    """Times from 1 to 1/T at which sigma^(1/rho) is equidistant, sigma = noise / signal of the schedule.

    References: Karras et al. 2022, eq. 5, between the schedule's own sigma at t = 1 and at t = 1/T.
    """
    if steps == 1:
        return [1.0]
    first, last = (schedule.level(t).ratio ** (1 / rho) for t in (1.0, 1 / steps))
    roots = [first + i / (steps - 1) * (last - first) for i in range(1, steps - 1)]
    return [1.0, *(schedule.time_of_ratio(root**rho) for root in roots), 1 / steps]


def leading_times(steps: int) -> list[float]:
    """Times of every (1000 // steps)-th of 1000 training timesteps, the first one included: n = ..., 2 c, c, 0.

    Index n of a training timestep is t = (n + 1) / 1000. For 10 steps these are the indices 900, 800, ..., 0.

    Raises
    ------
    UsageError
        For more than 1000 steps.

    References
    ----------
    Song, Meng & Ermon 2021, app. D.2 (linear); the spacing `leading` of diffusers' schedulers.
    """
    if steps > TIMESTEPS:
        raise UsageError(f"`steps` is {steps}; grid=leading has at most {TIMESTEPS}, the timesteps of a training.")
    stride = TIMESTEPS // steps
    return [(i * stride + 1) / TIMESTEPS for i in reversed(range(steps))]


def levels_at(schedule: NoiseSchedule, times: Sequence[float]) -> list[Level]:
    """Noise levels of a run at its times, from the noisiest to the cleanest.

    Raises
    ------
    UsageError
        If the schedule's noise-to-signal ratio does not fall from time to time.
    """
    levels = [schedule.level(t) for t in times]
    for level, following in pairwise(levels):
        if following.ratio >= level.ratio:
            raise UsageError(
                f"Schedule '{schedule.name}': the noise-to-signal ratio does not fall along the flow, from "
                f"{level.ratio:.3g} to {following.ratio:.3g}; use other `schedule` options, or another schedule."
            )
    return levels


class SamplerOptions(PluginOptions):
    """Options that every sampler has: the grid of times. A sampler's own `Options` derive from this."""

    grid: Literal["uniform", "karras", "leading"] = Field(
        "uniform",
        description="Times of the steps, from t = 1 to t = 1 / steps: uniform in t, or karras, which is uniform in "
        "(noise / signal)^(1 / rho). Or leading: every (1000 / steps)-th of 1000 training timesteps from the first one "
        "on, as diffusers' schedulers have it.",
    )
    rho: float = Field(
        7.0, gt=0, le=100, description="Curvature of the karras grid: larger has more steps at low noise."
    )

    def unused(self) -> Mapping[str, str]:
        """A curvature that nothing would depend on."""
        return {} if self.grid == "karras" else {"rho": f"grid={self.grid}"}


class Sampler(ABC):
    """Interface of a sampler plugin; subclass it, give it a `name` and register it.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[mosaic.SamplerOptions]
        The sampler's options.
    evaluations : int
        Evaluations of the score model in each step but the last, which has one. It decides how much work a run is.
    """

    name: ClassVar[str] = ""
    Options: ClassVar[type[SamplerOptions]] = SamplerOptions
    evaluations: ClassVar[int] = 1

    def __init__(self, options: SamplerOptions | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()

    @property
    def is_stochastic(self) -> bool:
        """Whether, with these options, the sampler draws noise."""
        return False

    def times(self, schedule: NoiseSchedule, steps: int) -> list[float]:
        """Times of the steps: the first is 1 (with grid=leading it is lower), they fall, and the last is above 0."""
        if self.options.grid == "leading":
            return leading_times(steps)
        if self.options.grid == "karras":
            return karras_times(schedule, steps, self.options.rho)
        return uniform_times(steps)

    @abstractmethod
    def flow(self, denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw) -> Iterator[Step]:
        """Go from `x` at the first level to an image at noise 0, yielding each step when it is done.

        Parameters
        ----------
        denoise : callable
            denoise(x, level, index) gives x0hat of x (B, C, H, W) at any level; `index` is the step whose locality
            scale is used: that of the cleanest level which has at least the noise-to-signal ratio of `level`, or 0. The
            first evaluation of a step is its `Step.denoised`.
        x : Tensor (B, C, H, W), float32 or float64
            Where to start, at `levels[0]`. It is not changed, nor is what was yielded.
        levels : sequence of Level
            One a step, from the noisiest to the cleanest.
        draw : callable
            draw(x) gives standard normal noise like x: the only noise that a sampler may use, so that a sample depends
            on its seed alone.

        Yields
        ------
        Step
            One for each level. The next step starts from its `following`, which may have been changed.
        """
