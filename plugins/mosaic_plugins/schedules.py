"""The built-in noise schedules (a = signal, s = noise, t in [0, 1])."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.references import DDPM, EDM, FLOW, KAMB, NICHOL, SDE

__all__ = ["Cosine", "CosineNichol", "DdpmLinear", "Edm", "Exponential", "Flow", "Linear"]


class Cosine(mosaic.NoiseSchedule):
    """The paper's cosine schedule: a = cos(pi/2 t / 1.008), s = sin(pi/2 t / 1.008).

    References: Kamb & Ganguli 2025, app. C.1.
    """

    name = "cosine"
    references = (KAMB,)

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give (a, s) at `t`; variance preserving, a(0) = 1, a(1) = 0.0125."""
        angle = (math.pi / 2 / 1.008) * t
        return torch.cos(angle), torch.sin(angle)


class CosineNichol(mosaic.NoiseSchedule):
    """Cosine with offset: a = cos(pi/2 (t + 0.008) / 1.008), clipped near t = 1.

    The authors bound each of 1000 steps by beta <= 0.999, which ends at a(1)^2 = 0.001 a(0.999)^2; the
    same floor bounds a here, so that x0hat = (x - s eps) / a of a network stays finite.

    References: Nichol & Dhariwal 2021, eq. 17 and the clipping below it.
    """

    name = "cosine-nichol"
    references = (NICHOL,)

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give (a, s) at `t`; variance preserving, a(1) = 4.9e-5."""
        floor = math.sqrt(0.001) * math.cos(math.pi / 2 * (0.999 + 0.008) / 1.008)
        signal = torch.cos((math.pi / 2 / 1.008) * (t + 0.008)).clamp(min=floor)
        return signal, torch.sqrt((1 - signal) * (1 + signal))


class Linear(mosaic.NoiseSchedule):
    """The paper's code: 1 - a^2 = 0.01 + 0.97 t. Reaches neither pure noise nor pure data.

    References: Kamb & Ganguli 2025, released code.
    """

    name = "linear"
    references = (KAMB,)

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give (a, s) at `t`; variance preserving, s(0) = 0.1, a(1) = 0.141."""
        variance = 0.01 + 0.97 * t
        return torch.sqrt(1 - variance), torch.sqrt(variance)


class Exponential(mosaic.NoiseSchedule):
    """Ornstein-Uhlenbeck: a^2 = exp(-2 t_max t). Does not reach pure noise at t = 1.

    References: Song et al. 2021, eq. 11 with constant beta.
    """

    name = "exponential"
    references = (SDE,)

    class Options(mosaic.Options):
        """How far the diffusion goes: by default to signal 0.37 and noise 0.93."""

        t_max: float = Field(1.0, gt=0, le=50, description="Diffusion time at t = 1; a(1) = exp(-t_max).")

    options: Options

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give (a, s) at `t`; variance preserving, a(1) = exp(-t_max)."""
        time = self.options.t_max * t
        return torch.exp(-time), torch.sqrt(-torch.expm1(-2 * time))


class DdpmLinear(mosaic.NoiseSchedule):
    """Linear beta from 1e-4 to 0.02 over 1000 steps, made continuous: a^2 = exp(-0.1 t - 9.95 t^2).

    Index n of a training timestep, from 0, is t = (n + 1) / 1000. There `discrete` gives a^2 = (1 - beta_0) .. (1 -
    beta_n) exactly, as programs that count steps have it; between these times, log a^2 is linear in t.

    References: Ho et al. 2020, sec. 4; Song et al. 2021, eq. 33.
    """

    name = "ddpm-linear"
    references = (DDPM, SDE)

    class Options(mosaic.Options):
        """Whether it is the continuous limit or the product of the steps themselves."""

        discrete: bool = Field(
            False, description="Multiply the 1000 steps exactly, as released code does; else their continuous limit."
        )

    options: Options

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give (a, s) at `t`; variance preserving, a(1) = 6.6e-3, or 6.4e-3 if it is discrete."""
        exponent = _log_of_product(t) if self.options.discrete else -0.1 * t - 9.95 * t * t
        return torch.exp(exponent / 2), torch.sqrt(-torch.expm1(exponent))


def _log_of_product(t: Tensor) -> Tensor:
    """log a^2 of Ho et al.'s 1000 discrete steps at `t`, linear between them."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=t.dtype, device=t.device)
    logs = torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])
    steps = 1000 * t
    before = steps.floor().clamp(max=999).to(torch.int64)
    return logs[before] + (steps - before) * (logs[before + 1] - logs[before])


class Flow(mosaic.NoiseSchedule):
    """Flow matching's straight path: a = 1 - t, s = t, with a kept at or above `signal_min`.

    References: Lipman et al. 2023, eq. 20 with sigma_min = 0.
    """

    name = "flow"
    references = (FLOW,)

    class Options(mosaic.Options):
        """A positive signal, since x0hat is (x - s eps) / a."""

        signal_min: float = Field(1e-3, gt=0, le=0.1, description="Smallest signal, reached as t goes to 1.")

    options: Options

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give (a, s) at `t`; a + s = 1 but where a is clipped."""
        return (1 - t).clamp(min=self.options.signal_min), t.clone()


class Edm(mosaic.NoiseSchedule):
    """Variance exploding: a = 1, s = (lo^(1/rho) + t (hi^(1/rho) - lo^(1/rho)))^rho.

    References: Karras et al. 2022, eq. 5.
    """

    name = "edm"
    references = (EDM,)

    class Options(mosaic.Options):
        """The range of the noise, in units of the data; the defaults are the paper's."""

        sigma_min: float = Field(0.002, gt=0, le=1, description="Noise at t = 0.")
        sigma_max: float = Field(80.0, gt=1, le=1e4, description="Noise at t = 1.")
        rho: float = Field(7.0, ge=1, le=20, description="Curvature: larger spends more time at low noise.")

    options: Options

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Give (a, s) at `t`; a = 1 throughout."""
        low, high = (bound ** (1 / self.options.rho) for bound in (self.options.sigma_min, self.options.sigma_max))
        return torch.ones_like(t), (low + t * (high - low)) ** self.options.rho


@mosaic.hookimpl
def register_schedules(register: mosaic.Register) -> None:
    for schedule in (Cosine, CosineNichol, Linear, Exponential, DdpmLinear, Flow, Edm):
        register(schedule)
