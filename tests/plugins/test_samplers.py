"""The built-in samplers on a Gaussian, whose x0hat, probability flow and moments are known in closed form.

`python tests/plugins/test_samplers.py` prints the errors of the deterministic ones by their number of steps.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import mosaic
from mosaic.interfaces.sampler import levels_at
from mosaic.sampling.noise import StepNoise, initial_noise, sample_seed

MEAN = torch.tensor([0.3, -0.5], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.3], [0.3, 0.2]], dtype=torch.float64)
ONE = torch.eye(2, dtype=torch.float64)

# Order of convergence, as published.
ORDERS = {"ddim": 1, "euler": 1, "heun": 2, "dpmpp-2m": 2}
# Name, options, and the order at which the moments converge.
STOCHASTIC: dict[str, tuple[str, dict[str, Any], int]] = {
    "ddpm": ("ddpm", {}, 1),
    "ddim with eta": ("ddim", {"eta": 0.5}, 1),
    "euler with churn": ("euler", {"s_churn": 5}, 1),
    "heun with churn": ("heun", {"s_churn": 5}, 2),
    "euler-maruyama": ("euler-maruyama", {}, 1),
}


def sampler(name: str, **options: Any) -> mosaic.Sampler:
    made: mosaic.Sampler = mosaic.registry().make("sampler", name, options)
    return made


@cache
def levels(schedule: str, steps: int, grid: str = "uniform") -> list[mosaic.Level]:
    made = mosaic.registry().make("schedule", schedule, {})
    return levels_at(made, sampler("ddim", grid=grid).times(made, steps))


def denoise(x: Tensor, level: mosaic.Level, index: int) -> Tensor:
    """E[x_0 | x] = mu + a S (a^2 S + s^2)^-1 (x - a mu), for x (B, 1, 1, 2)."""
    a, s = level.signal, level.noise
    return MEAN + (x - a * MEAN) @ torch.linalg.solve(a**2 * COVARIANCE + s**2 * ONE, a * COVARIANCE)


def power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values**exponent) @ vectors.T


def probability_flow(x: Tensor, level: mosaic.Level) -> Tensor:
    """Where the exact flow ends: it keeps (S + sigma^2)^(-1/2) (x / a - mu)."""
    noisy = COVARIANCE + level.ratio**2 * ONE
    return MEAN + (x / level.signal - MEAN) @ power(noisy, -0.5) @ power(COVARIANCE, 0.5)


def no_noise(x: Tensor) -> Tensor:
    raise AssertionError("a deterministic sampler draws no noise")


def images(made: mosaic.Sampler, x: Tensor, at: list[mosaic.Level], draw: Callable[[Tensor], Tensor]) -> Tensor:
    *_, last = made.flow(denoise, x, at, draw)
    return last.following


def error(name: str, schedule: str, steps: int, grid: str = "uniform") -> float:
    """Largest distance of a final pixel from the exact flow's, for four starts."""
    at = levels(schedule, steps, grid)
    x = at[0].noise * initial_noise(0, range(4), (1, 1, 2)).double()
    return float((images(sampler(name), x, at, no_noise) - probability_flow(x, at[0])).abs().max())


def table() -> str:
    """Errors by steps, as text."""
    counts = (10, 20, 40, 80, 160, 320)
    lines = ["schedule grid    sampler  " + "".join(f"{steps:>9}" for steps in counts) + "   orders"]
    for schedule, grid in (("edm", "uniform"), ("cosine", "uniform"), ("cosine", "karras")):
        for name in ORDERS:
            errors = [error(name, schedule, steps, grid) for steps in counts]
            orders = [math.log2(a / b) for a, b in pairwise(errors)]
            numbers = "".join(f"{each:9.1e}" for each in errors) + "  " + "".join(f"{each:6.2f}" for each in orders)
            lines.append(f"{schedule:8} {grid:7} {name:9}{numbers}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize(("schedule", "grid"), [("edm", "uniform"), ("cosine", "karras")])
def test_the_error_falls_with_the_steps_at_the_published_order(name: str, schedule: str, grid: str) -> None:
    errors = [error(name, schedule, steps, grid) for steps in (40, 80, 160)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(ORDERS[name], abs=0.15)


def test_deterministic_samplers_converge_to_the_same_image() -> None:
    at = levels("edm", 320)
    x = at[0].noise * initial_noise(0, range(4), (1, 1, 2)).double()
    ends = {name: images(sampler(name), x, at, no_noise) for name in ORDERS}
    assert torch.allclose(ends["euler"], ends["ddim"], rtol=0, atol=1e-9)  # one method in two coordinates
    assert torch.allclose(ends["heun"], ends["dpmpp-2m"], rtol=0, atol=1e-4)
    coarser = images(sampler("ddim"), x, levels("edm", 160), no_noise)
    assert torch.allclose(
        2 * ends["ddim"] - coarser, ends["heun"], rtol=0, atol=1e-3
    )  # its error of first order removed


@cache
def moments(case: str, steps: int) -> tuple[Tensor, Tensor]:
    """Mean (2,) and covariance (2, 2) of the images of a sampler that starts from the noisy data, without sampling.

    The image is an affine function of the start and of each noise that is drawn, since x0hat of a Gaussian is. Its
    coefficients are the images of a batch in which each row has a single one of these numbers at 1, the others at 0.
    """
    name, options, _ = STOCHASTIC[case]
    made, at = sampler(name, **options), levels("edm", steps)
    draws: list[Tensor] = []

    def nothing(x: Tensor) -> Tensor:
        draws.append(torch.zeros_like(x))
        return draws[-1]

    images(made, torch.zeros(1, 1, 1, 2, dtype=torch.float64), at, nothing)
    numbers = 2 * (1 + len(draws))
    inputs = torch.cat([torch.zeros(1, numbers), torch.eye(numbers)]).double().reshape(numbers + 1, -1, 1, 1, 2)
    given = iter(inputs[:, 1:].unbind(1))
    ends = images(made, inputs[:, 0], at, lambda x: next(given)).reshape(-1, 2)
    of_start, of_noise = (ends[1:] - ends[0]).split((2, numbers - 2))
    noisy = at[0].signal ** 2 * COVARIANCE + at[0].noise ** 2 * ONE
    return ends[0] + at[0].signal * MEAN @ of_start, of_start.T @ noisy @ of_start + of_noise.T @ of_noise


@pytest.mark.parametrize("case", STOCHASTIC)
def test_the_moments_of_a_stochastic_sampler_converge_to_those_of_the_data(case: str) -> None:
    order = STOCHASTIC[case][2]
    means, covariances = zip(*(moments(case, steps) for steps in (80, 160)), strict=True)
    assert all(torch.allclose(mean, MEAN, rtol=0, atol=1e-10) for mean in means)
    coarse, fine = (float((covariance - COVARIANCE).abs().max()) for covariance in covariances)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)
    extrapolated = covariances[1] + (covariances[1] - covariances[0]) / (2**order - 1)
    assert torch.allclose(extrapolated, COVARIANCE, rtol=0, atol=0.01)


@pytest.mark.parametrize("case", STOCHASTIC)
def test_samples_have_the_law_of_the_data(case: str) -> None:
    """Within 4 standard errors of 20,000 samples, and the error of 160 steps: twice what halving the steps changes."""
    name, options, _ = STOCHASTIC[case]
    count, at, generator = 20_000, levels("edm", 160), torch.Generator().manual_seed(0)

    def draw(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator, dtype=torch.float64)

    start = torch.empty(count, 1, 1, 2)
    noisy = at[0].signal ** 2 * COVARIANCE + at[0].noise ** 2 * ONE
    ends = images(sampler(name, **options), at[0].signal * MEAN + draw(start) @ power(noisy, 0.5), at, draw)
    samples = ends.reshape(-1, 2)
    (_, coarse), (_, fine) = (moments(case, steps) for steps in (80, 160))
    variance = COVARIANCE.diag()
    assert ((samples.mean(0) - MEAN).abs() < 4 * (variance / count).sqrt()).all()
    of_sample = ((variance[:, None] * variance + COVARIANCE**2) / count).sqrt()  # of a Gaussian's covariance
    assert ((samples.T.cov() - COVARIANCE).abs() < 4 * of_sample + 2 * (fine - coarse).abs()).all()


def stepped(name: str, x: Tensor, at: list[mosaic.Level], draw: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The states of DDIM and DDPM as they were first written, and the image."""
    states = [x]
    for level, after in pairwise(at):
        denoised = smooth(x, level, 0)
        eps = (x - level.signal * denoised) / level.noise
        if name == "ddim":
            x = after.signal * denoised + after.noise * eps
        else:
            kept = after.ratio / level.ratio
            sigma = after.noise * math.sqrt(1 - kept**2)
            x = after.signal * denoised + after.noise * kept * eps + sigma * draw(x)
        states.append(x)
    return [*states, smooth(x, at[-1], 0)]


def smooth(x: Tensor, level: mosaic.Level, index: int) -> Tensor:
    return torch.tanh(x / (level.signal + level.noise))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", ["cosine", "flow", "edm"])
@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_ddim_and_ddpm_keep_their_bits(name: str, schedule: str, dtype: torch.dtype) -> None:
    at, seeds = levels(schedule, 12), [sample_seed(3, i) for i in range(4)]
    x = initial_noise(3, range(4), (1, 3, 2)).to(dtype)
    steps = list(sampler(name).flow(smooth, x, at, StepNoise(seeds)))
    wanted = stepped(name, x, at, StepNoise(seeds))
    actual = [*(step.state for step in steps), steps[-1].following]
    assert all(torch.equal(*pair) for pair in zip(actual, wanted, strict=True))


def test_ddim_with_eta_one_is_ddpm() -> None:
    at, x = levels("cosine", 6), initial_noise(0, range(2), (1, 1, 2)).double()
    ends = [
        images(sampler(name, **options), x, at, StepNoise([1, 2]))
        for name, options in (("ddpm", {}), ("ddim", {"eta": 1}))
    ]
    assert torch.equal(*ends)


def test_one_step_of_each_by_hand() -> None:
    at, x = [mosaic.Level(0.6, 0.8), mosaic.Level(0.8, 0.6)], torch.full((1, 1, 1, 1), 1.0, dtype=torch.float64)
    half, eps, z = 0.5, (1.0 - 0.6 * 0.5) / 0.8, 1.0
    sigma, after = 0.8 / 0.6, 0.6 / 0.8
    fresh = 0.3 * 0.6 * math.sqrt(1 - (after / sigma) ** 2)
    y, variance, raised = 1 / 0.6, sigma**2 - after**2, sigma * 1.25
    churned = y + math.sqrt(raised**2 - sigma**2) * z
    expected = {
        "ddim": 0.8 * half + 0.6 * eps,
        "ddim eta": 0.8 * half + math.sqrt(0.36 - fresh**2) * eps + fresh * z,
        "euler-maruyama": 0.8 * (y + variance * (half - y) / sigma**2 + math.sqrt(variance) * z),
        "dpmpp-2m": 0.6 / 0.8 - 0.8 * (after / sigma - 1) * half,
        "euler": 0.8 * (half + after / sigma * (y - half)),
        "euler churn": 0.8 * (half + after / raised * (churned - half)),
    }
    options = {"ddim eta": {"eta": 0.3}, "euler churn": {"s_churn": 0.5, "s_tmax": 10}}
    for name, value in expected.items():
        made = sampler(name.partition(" ")[0], **options.get(name, {}))
        first, _ = made.flow(lambda x, level, index: torch.full_like(x, half), x, at, torch.ones_like)
        assert float(first.following) == pytest.approx(value, rel=1e-12), name


def raised_steps(options: dict[str, Any]) -> list[int]:
    """Steps of ten that add noise."""
    at, asked = levels("edm", 10), []

    def note(x: Tensor, level: mosaic.Level, index: int) -> Tensor:
        asked.append(level)
        return denoise(x, level, index)

    list(sampler("euler", **options).flow(note, torch.zeros(1, 1, 1, 2, dtype=torch.float64), at, torch.zeros_like))
    return [step for step, level in enumerate(asked) if level != at[step]]


def test_churn_stays_within_its_bounds_and_by_default_within_the_noise_of_the_start() -> None:
    sigmas = [level.ratio for level in levels("edm", 10)]  # 80 to 0.0075
    gamma = 1 / 10
    within = [step for step, sigma in enumerate(sigmas) if sigma * (1 + gamma) <= sigmas[0]]
    assert raised_steps({}) == []
    assert raised_steps({"s_churn": 1}) == within == list(range(1, 10))
    assert raised_steps({"s_churn": 1, "s_tmax": 1e3}) == list(range(10))
    bounds = {"s_tmin": sigmas[6], "s_tmax": sigmas[3]}
    assert raised_steps({"s_churn": 1, **bounds}) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("heun", {"s_noise": 1.1}, "s_noise"),
        ("euler", {"s_tmax": 50}, "s_tmax"),
        ("ddim", {"eta": -0.1}, "'eta'"),
        ("ddim", {"eta": 1.1}, "'eta'"),
        ("heun", {"s_churn": -1}, "'s_churn'"),
        ("ddpm", {"eta": 1}, "'eta'"),
    ],
)
def test_options_that_cannot_be_used_are_refused(name: str, options: dict[str, Any], value: str) -> None:
    with pytest.raises(mosaic.UsageError, match=rf"sampler\.{name}.*{value}"):
        sampler(name, **options)


if __name__ == "__main__":
    sys.stdout.write(table())


def test_ddim_of_the_studios_protocol_is_that_of_diffusers() -> None:
    """Timesteps, levels, and a step with x0hat clipped and eps not: 10 leading steps from the same noise."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear", prediction_type="sample"
    )
    scheduler.set_timesteps(10)
    schedule = mosaic.registry().make("schedule", "ddpm-linear", {"discrete": True})
    made = sampler("ddim", grid="leading", clip=1)
    at = levels_at(schedule, made.times(schedule, 10))
    x = initial_noise(0, range(3), (1, 4, 4)).double()

    def wide(x: Tensor, level: mosaic.Level, index: int) -> Tensor:
        return 1.6 * torch.sin(x / level.signal + index)  # beyond 1 in many pixels

    states = []
    theirs = x
    for index, n in enumerate(scheduler.timesteps.tolist()):
        states.append(theirs)
        x0hat = wide(theirs, at[index], index)
        theirs = scheduler.step(x0hat, n, theirs).prev_sample
    ours = list(made.flow(wide, x, at, no_noise))
    for step, state in zip(ours, states, strict=True):
        torch.testing.assert_close(step.state, state, rtol=0, atol=1e-4)  # their levels are float32
    assert torch.equal(ours[-1].following, ours[-1].denoised)  # the studio's image, clamped by its metric only
    torch.testing.assert_close(ours[-1].following.clamp(-1, 1), theirs, rtol=0, atol=1e-4)
    free = list(sampler("ddim", grid="leading").flow(wide, x, at, no_noise))
    assert float((free[-1].state - ours[-1].state).abs().max()) > 0.1
