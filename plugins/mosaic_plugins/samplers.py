"""The built-in samplers (a = signal, s = noise, sigma = s / a; a prime marks the next level)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from pydantic import Field
from torch import Tensor

import mosaic
from mosaic import Level, Step

__all__ = ["Ddim", "Ddpm", "DpmSolverPlusPlus2M", "Euler", "EulerMaruyama", "Heun"]

Denoise = Callable[[Tensor, Level, int], Tensor]
Draw = Callable[[Tensor], Tensor]

FINISHED = Level(1.0, 0.0)
LARGEST_GAMMA = math.sqrt(2) - 1


def ddim_step(
    x: Tensor, denoised: Tensor, level: Level, following: Level, eta: float, draw: Draw, clip: float | None = None
) -> Tensor:
    """x' = a' x0hat + sqrt(s'^2 - v^2) eps + v z, v = eta s' sqrt(1 - (a s' / (a' s))^2); `draw` is used if eta > 0.

    With `clip`, x0hat is bounded in the first term only: eps stays that of x0hat itself.

    References: Song, Meng & Ermon 2021, eq. 12 and 16; eta = 1 is the ancestral step of Ho et al. 2020, eq. 7.
    """
    kept = following.ratio / level.ratio  # a s' / (a' s), below 1 since s / a falls
    eps = mosaic.eps_from_denoised(x, denoised, level)
    share = math.hypot(math.sqrt(1 - eta**2), eta * kept)  # sqrt(s'^2 - v^2) / s', exact for eta 0 and 1
    bounded = denoised if clip is None else denoised.clamp(-clip, clip)
    mean = following.signal * bounded + following.noise * share * eps
    return mean if eta == 0 else mean + eta * following.noise * math.sqrt(1 - kept**2) * draw(x)


def ddim(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], eta: float, draw: Draw, clip: float | None = None
) -> Iterator[Step]:
    """Denoising diffusion implicit models: `ddim_step` from level to level; the image is the last x0hat, unclipped."""
    for index, (level, following) in enumerate(pairwise((*levels, FINISHED))):
        denoised = after = denoise(x, level, index)
        if following != FINISHED:
            after = ddim_step(x, denoised, level, following, eta, draw, clip)
        step = Step(index, x, denoised, after)
        yield step
        x = step.following


def euler_maruyama(denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw) -> Iterator[Step]:
    """Reverse SDE in y = x / a: y' = y + (sigma^2 - sigma'^2) score + sqrt(sigma^2 - sigma'^2) z.

    References: Song et al. 2021, eq. 6 for the variance exploding SDE (eq. 9); the last step has no noise.
    """
    for index, (level, following) in enumerate(pairwise((*levels, FINISHED))):
        denoised = after = denoise(x, level, index)
        if following != FINISHED:
            y, variance = x / level.signal, level.ratio**2 - following.ratio**2
            score = mosaic.score_from_denoised(y, denoised, Level(1.0, level.ratio))
            after = following.signal * (y + variance * score + math.sqrt(variance) * draw(y))
        step = Step(index, x, denoised, after)
        yield step
        x = step.following


def dpmpp_2m(denoise: Denoise, x: Tensor, levels: Sequence[Level]) -> Iterator[Step]:
    """DPM-Solver++ (2M): x' = s' / s x - a' (e^-h - 1) D, D = x0hat + (x0hat - x0hat of the step before) / (2 r).

    With lambda = log(a / s), h = lambda' - lambda, and r = h of the step before over h. D is x0hat, which makes the
    step one of first order, in the first step and in the last, to noise 0.

    References: Lu et al. 2022, DPM-Solver++, algorithm 2.
    """
    before: tuple[Tensor, float] | None = None
    for index, (level, following) in enumerate(pairwise((*levels, FINISHED))):
        denoised = after = denoise(x, level, index)
        if following != FINISHED:
            h, predicted = math.log(level.ratio / following.ratio), denoised
            if before is not None:
                predicted = denoised + (denoised - before[0]) * (h / before[1] / 2)
            after = following.noise / level.noise * x - following.signal * math.expm1(-h) * predicted
            before = denoised, h
        step = Step(index, x, denoised, after)
        yield step
        x = step.following


class Churn(mosaic.SamplerOptions):
    """How much noise each step adds before it removes it: by default none."""

    s_churn: float = Field(0.0, ge=0, le=1e6, description="Noise added over all steps; 0 for a deterministic flow.")
    s_tmin: float = Field(0.0, ge=0, le=1e6, description="Smallest noise / signal at which noise is added.")
    s_tmax: float | None = Field(
        None,
        ge=0,
        le=1e9,
        description="Largest noise / signal at which noise is added. Default: as far as that stays within the noise of "
        "t = 1.",
    )
    s_noise: float = Field(1.0, gt=0, le=2, description="Standard deviation of the noise that is added.")

    def unused(self) -> Mapping[str, str]:
        """The bounds and the size of a noise that is not added."""
        own = dict.fromkeys(("s_tmin", "s_tmax", "s_noise"), "s_churn=0") if self.s_churn == 0 else {}
        return {**super().unused(), **own}

    def gamma(self, sigma: float, levels: Sequence[Level]) -> float:
        """Share by which a step at `sigma` raises it."""
        gamma = min(self.s_churn / len(levels), LARGEST_GAMMA)
        largest = levels[0].ratio / (1 + gamma) if self.s_tmax is None else self.s_tmax
        return gamma if self.s_tmin <= sigma <= largest else 0.0


def edm(
    denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw, churn: Churn, *, is_corrected: bool
) -> Iterator[Step]:
    """Stochastic sampler in y = x / a: Heun's method if `is_corrected`, else Euler's; the last step is Euler's.

    References: Karras et al. 2022, algorithm 2; without churn, algorithm 1. Both with sigma(t) = t and s(t) = 1.
    """
    for index, (level, following) in enumerate(pairwise((*levels, FINISHED))):
        y, sigma = x / level.signal, level.ratio
        gamma = churn.gamma(sigma, levels)
        if gamma > 0:
            raised = sigma * (1 + gamma)
            y = y + churn.s_noise * math.sqrt(raised**2 - sigma**2) * draw(y)
            denoised = denoise(y, Level(1.0, raised), step_at(levels, raised))
            sigma = raised
        else:
            denoised = denoise(x, level, index)
        after = denoised
        if following != FINISHED:
            h, slope = following.ratio - sigma, (y - denoised) / sigma
            after = following.signal * (y + h * slope)
            if is_corrected:
                corrected = (after / following.signal - denoise(after, following, index + 1)) / following.ratio
                after = following.signal * (y + h * (slope + corrected) / 2)
        step = Step(index, x, denoised, after)
        yield step
        x = step.following


def step_at(levels: Sequence[Level], sigma: float) -> int:
    """Give the cleanest step whose level has at least this noise-to-signal ratio; 0 if none has."""
    return max((index for index, level in enumerate(levels) if level.ratio >= sigma), default=0)


class Ddim(mosaic.Sampler):
    """DDIM: deterministic for eta = 0, with fresh noise for eta > 0; first order.

    References: Song, Meng & Ermon 2021, eq. 12 and 16.
    """

    name = "ddim"

    class Options(mosaic.SamplerOptions):
        """How much of each step's noise is fresh, and how far x0hat may go."""

        eta: float = Field(0.0, ge=0, le=1, description="Share of fresh noise: 0 for none, 1 for ancestral sampling.")
        clip: float | None = Field(
            None,
            gt=0,
            le=1e6,
            description="Bound of |x0hat| on the way, where eps stays as it is; diffusers' schedulers have 1. Default: "
            "none.",
        )

    @property
    def is_stochastic(self) -> bool:
        """Whether eta is positive."""
        return bool(self.options.eta > 0)

    def flow(self, denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw) -> Iterator[Step]:
        """Go from noise to an image, as `ddim` says."""
        return ddim(denoise, x, levels, self.options.eta, draw, self.options.clip)


class Ddpm(mosaic.Sampler):
    """DDPM ancestral sampling: DDIM with eta = 1.

    References: Ho et al. 2020, algorithm 2 and eq. 7; Song, Meng & Ermon 2021, eq. 16.
    """

    name = "ddpm"

    @property
    def is_stochastic(self) -> bool:
        """Always."""
        return True

    def flow(self, denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw) -> Iterator[Step]:
        """Go from noise to an image, as `ddim` says."""
        return ddim(denoise, x, levels, 1.0, draw)


class _Edm(mosaic.Sampler):
    """What Euler's and Heun's method share: the options of churn."""

    Options = Churn

    @property
    def is_stochastic(self) -> bool:
        """Whether there is churn."""
        return bool(self.options.s_churn > 0)


class Euler(_Edm):
    """Euler's method in x / signal, with churn on request; without it the same as DDIM. First order.

    References: Karras et al. 2022, algorithm 2 without its correction (lines 9 to 11).
    """

    name = "euler"

    def flow(self, denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw) -> Iterator[Step]:
        """Go from noise to an image, as `edm` says."""
        return edm(denoise, x, levels, draw, self.options, is_corrected=False)


class Heun(_Edm):
    """Heun's method in x / signal, with churn on request: two evaluations a step, second order.

    References: Karras et al. 2022, algorithm 1; algorithm 2 with churn.
    """

    name = "heun"
    evaluations = 2

    def flow(self, denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw) -> Iterator[Step]:
        """Go from noise to an image, as `edm` says."""
        return edm(denoise, x, levels, draw, self.options, is_corrected=True)


class DpmSolverPlusPlus2M(mosaic.Sampler):
    """DPM-Solver++ (2M): a multistep method of second order with one evaluation a step.

    References: Lu et al. 2022, DPM-Solver++, algorithm 2.
    """

    name = "dpmpp-2m"

    def flow(self, denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw) -> Iterator[Step]:
        """Go from noise to an image, as `dpmpp_2m` says."""
        return dpmpp_2m(denoise, x, levels)


class EulerMaruyama(mosaic.Sampler):
    """Euler-Maruyama method for the reverse SDE in x / signal: fresh noise in each step.

    References: Song et al. 2021, eq. 6 and 9.
    """

    name = "euler-maruyama"

    @property
    def is_stochastic(self) -> bool:
        """Always."""
        return True

    def flow(self, denoise: Denoise, x: Tensor, levels: Sequence[Level], draw: Draw) -> Iterator[Step]:
        """Go from noise to an image, as `euler_maruyama` says."""
        return euler_maruyama(denoise, x, levels, draw)


@mosaic.hookimpl
def register_samplers(register: mosaic.Register) -> None:
    for sampler in (Ddim, Ddpm, Euler, Heun, DpmSolverPlusPlus2M, EulerMaruyama):
        register(sampler)
