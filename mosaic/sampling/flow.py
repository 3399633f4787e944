"""The reverse flow, step by step: DDIM and DDPM ancestral sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from torch import Tensor

from mosaic.errors import UsageError
from mosaic.interfaces.schedule import Level, NoiseSchedule
from mosaic.interfaces.score import eps_from_denoised

__all__ = ["SAMPLERS", "Step", "ddim_step", "ddpm_step", "reverse_flow", "reverse_levels", "reverse_times"]


@dataclass(frozen=True)
class Step:
    """One evaluation of the score.

    Attributes
    ----------
    index : int
        Number of the step; 0 is the noisiest.
    state : Tensor (B, C, H, W)
        x at the level of the step.
    denoised : Tensor (B, C, H, W)
        x0hat of that state.
    """

    index: int
    state: Tensor
    denoised: Tensor


Denoise = Callable[[Tensor, int], Tensor]
StepRule = Callable[[Tensor, Tensor, Level, Level, Callable[[Tensor], Tensor]], Tensor]


def reverse_times(steps: int) -> list[float]:
    """Times t = T/T, (T-1)/T, ..., 1/T at which a run of T steps evaluates the score."""
    return [i / steps for i in range(steps, 0, -1)]


def ddim_step(x: Tensor, denoised: Tensor, level: Level, following: Level, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Deterministic step x' = a' x0hat + s' eps; `draw` is not called.

    References: Song, Meng & Ermon 2021, eq. 12 with sigma = 0.
    """
    return following.signal * denoised + following.noise * eps_from_denoised(x, denoised, level)


def ddpm_step(x: Tensor, denoised: Tensor, level: Level, following: Level, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Ancestral step x' = a' x0hat + sqrt(s'^2 - sigma^2) eps + sigma z, sigma^2 = s'^2 (1 - (a s' / (a' s))^2).

    References: Ho et al. 2020, eq. 7; Song, Meng & Ermon 2021, eq. 16 with eta = 1.
    """
    kept = following.ratio / level.ratio  # a s' / (a' s), below 1 since s / a falls
    sigma = following.noise * sqrt(1 - kept**2)
    eps = eps_from_denoised(x, denoised, level)
    return following.signal * denoised + following.noise * kept * eps + sigma * draw(x)


SAMPLERS: dict[str, StepRule] = {"ddim": ddim_step, "ddpm": ddpm_step}


def reverse_flow(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], step: StepRule, draw: Callable[[Tensor], Tensor]
) -> Iterator[Step]:
    """Run the reverse flow from `x` at the first level to the last, yielding each evaluation.

    Parameters
    ----------
    denoise : callable
        `denoise(x, index)` gives x0hat of x at `levels[index]`.
    x : Tensor (B, C, H, W)
        Start, noise of standard deviation `levels[0].noise`.
    levels : sequence of Level
        From the noisiest to the cleanest. The last step's x0hat is the final image.
    step : callable
        One of `SAMPLERS`.
    draw : callable
        `draw(x)` gives standard normal noise like x, for an ancestral sampler.
    """
    for index, (level, following) in enumerate(pairwise(levels)):
        denoised = denoise(x, index)
        yield Step(index, x, denoised)
        x = step(x, denoised, level, following, draw)
    yield Step(len(levels) - 1, x, denoise(x, len(levels) - 1))


def reverse_levels(schedule: NoiseSchedule, steps: int) -> list[Level]:
    """Noise levels of a run of `steps` steps, from the noisiest to the cleanest.

    Raises
    ------
    UsageError
        If the schedule's noise-to-signal ratio does not fall from step to step.
    """
    levels = [schedule.level(t) for t in reverse_times(steps)]
    for level, following in pairwise(levels):
        if following.ratio >= level.ratio:
            raise UsageError(
                f"Schedule '{schedule.name}': the noise-to-signal ratio does not fall along the flow, from "
                f"{level.ratio:.3g} to {following.ratio:.3g}; use other `schedule` options, or another schedule."
            )
    return levels
