"""Log-likelihood by the probability flow: against densities that are known in closed form."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from reports import Reports
from torch import Tensor

import mosaic

T = 0.1


def level(t: float) -> mosaic.Level:
    made: mosaic.Level = mosaic.registry().make("schedule", "cosine", {}).level(t)
    return made


MEAN = torch.linspace(-0.5, 0.5, 30, dtype=torch.float64).reshape(1, 6, 5)
VARIANCE = torch.linspace(0.01, 0.6, 30, dtype=torch.float64).reshape(1, 6, 5)


def of_gaussian(x: Tensor, noise: mosaic.Level) -> Tensor:
    """x0hat where the values of an image are independent, N(MEAN, VARIANCE)."""
    y, sigma = x / noise.signal, noise.ratio
    return MEAN + VARIANCE / (VARIANCE + sigma**2) * (y - MEAN)


def gaussian(tiny: mosaic.DataSet) -> mosaic.Score:
    return mosaic.score(of_gaussian, tiny, prediction="x0", time="level")


def exact_gaussian(x: Tensor) -> Tensor:
    """Density of what the exact flow makes of N(0, s(1)^2): y goes to MEAN + (y - MEAN) sqrt(ratio of variances)."""
    first, last = level(1.0), level(T)
    stretch = ((VARIANCE + first.ratio**2) / (VARIANCE + last.ratio**2)).sqrt()
    noise = (MEAN + stretch * (x / last.signal - MEAN)) * first.signal
    normal = torch.distributions.Normal(0.0, first.noise).log_prob(noise).flatten(1).sum(1)
    return normal + float((stretch * first.signal / last.signal).log().sum())


@pytest.fixture
def x() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return MEAN + VARIANCE.sqrt() * torch.randn(3, 1, 6, 5, dtype=torch.float64, generator=generator)


def test_it_converges_to_the_density_of_the_flow_of_a_gaussian_at_second_order(tiny: mosaic.DataSet, x: Tensor) -> None:
    expected = exact_gaussian(x)
    errors = [
        float((mosaic.log_likelihood(gaussian(tiny), x, T, steps=steps, probes=None) - expected).abs().max())
        for steps in (40, 80, 160)
    ]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([2, 2], abs=0.25)
    assert errors[-1] < 0.2


def test_that_density_is_the_marginal_apart_from_the_start(tiny: mosaic.DataSet, x: Tensor) -> None:
    """The law of x_t is N(a MEAN, a^2 VARIANCE + s^2); runs start from N(0, s^2) at t = 1."""
    here = level(T)
    deviation = (here.signal**2 * VARIANCE + here.noise**2).sqrt()
    marginal = torch.distributions.Normal(here.signal * MEAN, deviation).log_prob(x).flatten(1).sum(1)
    assert float((exact_gaussian(x) - marginal).abs().max()) < 0.05


def test_it_is_the_mixture_of_the_ideal_score(tiny: mosaic.DataSet) -> None:
    """Of the training images with noise: a mixture of Gaussians about them."""
    here, t = level(0.4), 0.4
    generator = torch.Generator().manual_seed(1)
    x = here.signal * tiny.images[:3].double()
    x = x + here.noise * torch.randn(x.shape, dtype=torch.float64, generator=generator)
    apart = ((x[:, None] - here.signal * tiny.images[None].double()) ** 2).flatten(2).sum(2)
    constant = math.log(len(tiny)) + 15 * math.log(2 * math.pi * here.noise**2)
    expected = torch.logsumexp(-apart / (2 * here.noise**2), 1) - constant
    actual = mosaic.log_likelihood(mosaic.score("is", tiny), x, t, steps=100, probes=None, progress=False)
    assert float((actual - expected).abs().max()) < 0.1


def test_random_signs_estimate_it_without_bias(tiny: mosaic.DataSet, x: Tensor) -> None:
    """x0hat by a matrix that is not diagonal, so that the signs matter."""

    def mixing(x: Tensor, noise: mosaic.Level) -> Tensor:
        return 0.5 * (of_gaussian(x, noise) + of_gaussian(x, noise).roll(1, 3) * 0.5)

    own = mosaic.score(mixing, tiny, prediction="x0", time="level")
    settings: dict[str, Any] = {"steps": 10, "progress": False}
    exact = mosaic.log_likelihood(own, x, 0.3, probes=None, **settings)
    estimates = torch.stack([mosaic.log_likelihood(own, x, 0.3, probes=2, seed=seed, **settings) for seed in range(60)])
    error = estimates.std(0) / math.sqrt(60)
    assert float(estimates.std(0).min()) > 1e-3
    assert bool(((estimates.mean(0) - exact).abs() < 4 * error).all())
    again = mosaic.log_likelihood(own, x, 0.3, probes=2, seed=7, **settings)
    assert torch.equal(again, estimates[7])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"t": 0.0}, "`t`"), ({"t": 1.0}, "`t`"), ({"steps": 0}, "`steps`"), ({"probes": 0}, "`probes`")],
)
def test_what_cannot_be_used_is_refused(tiny: mosaic.DataSet, x: Tensor, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=named):
        mosaic.log_likelihood(gaussian(tiny), x, **arguments)


def test_progress_is_in_weighted_comparisons_of_both_ends_of_each_step(tiny: mosaic.DataSet) -> None:
    reports, els = Reports(), mosaic.score("els", tiny, scales="5", boundary="circular")
    mosaic.log_likelihood(els, tiny.images[:2], 0.5, steps=4, progress=reports)
    assert [report[0] / report[1] for report in reports] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert {report[1:3] for report in reports} == {(4 * 2 * 2 * 5 * 12 * 30**2, "weighted comparison")}
