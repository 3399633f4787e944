"""The precision that logits are evaluated in, and that the results keep the digits of their input."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
import torch
from analytic_machines import MACHINES, denoise
from built_kernel import ENGINES
from drawn_cases import STYLES, Case, cases, modest
from hypothesis import given

import mosaic
from mosaic import Compute, Level
from mosaic.engine.precision import Arithmetic, choose_arithmetic, largest_magnitude


def test_arithmetic_grows_more_careful_as_the_noise_falls() -> None:
    x = torch.zeros(1, 1, 8, 8).normal_(generator=torch.Generator().manual_seed(0))
    chosen = [choose_arithmetic(x, mosaic.Level(1.0, noise), 225, 1.0) for noise in (10.0, 0.05)]
    assert [(how.dtype, how.expanded) for how in chosen] == [(torch.float32, True), (torch.float64, True)]
    double = [choose_arithmetic(x.double(), mosaic.Level(1.0, noise), 225, 1.0) for noise in (10.0, 0.001)]
    assert [(how.dtype, how.expanded) for how in double] == [(torch.float64, True), (torch.float64, False)]


def test_long_windows_on_a_constant_background_stay_accurate() -> None:
    """Where float32 is only just allowed, and all terms of a long sum have one sign."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(16, 1, 8, 8, generator=generator) * 2 - 1
    images[torch.rand(images.shape, generator=generator) < 0.9] = -1
    for noise in (1.0, 1.5, 1.865, 2.5, 4.0):
        x = images[:1] + noise * torch.randn(1, 1, 8, 8, generator=generator)
        exact = mosaic.equivariant_local_posterior(
            x, images, Level(1.0, noise), 61, "circular", compute=Compute("reference")
        ).mean()
        for engine in set(ENGINES) - {"reference"}:
            actual = mosaic.equivariant_local_posterior(
                x, images, Level(1.0, noise), 61, "circular", compute=Compute(engine)
            ).mean()
            assert float((actual - exact).abs().max()) < 1e-3, (engine, noise)


@MACHINES
def test_machine_equals_the_oracle_in_float32(machine: str, boundary: str | None) -> None:
    """To 2e-4 for the same float32 numbers, at s >= 0.05."""

    @modest
    @given(cases(machine, boundary, log10_noise=(math.log10(0.05), 0.0), on_data=True))
    def check(case: Case) -> None:
        x, images = case.x.astype(np.float32), case.images.astype(np.float32)
        result = denoise(machine, boundary, x, images, case.level, case.k, case.labels, case.wanted)
        case.images = images.astype(np.float64)
        for sample in range(len(x)):
            exact = oracle.denoise(
                machine, boundary, x[sample].astype(np.float64), case.images_for(sample), *case.level, case.k
            )
            assert np.abs(result[sample] - exact).max() <= 2e-4

    check()


@MACHINES
def test_float32_at_small_noise_costs_no_more_than_rounding_the_input(machine: str, boundary: str | None) -> None:
    """At 1e-3 <= s < 0.05, within `oracle.rounding` (which derives it) + 4e-6 of the unrounded float64 input.

    The 4e-6 are for float32's own sums over up to 245 weights and for its output. A machine that loses more
    than the rounding of x and of the images to float32 (as |x|^2 - 2 x.y + |y|^2 does, by 1 / s^2) exceeds it.
    """
    tight: list[bool] = []
    undecided: list[bool] = []
    styles = ["near", "near", "near constant", "near constant", *STYLES]

    @modest
    @given(cases(machine, boundary, (-3.0, math.log10(0.05)), on_data=True, styles=styles))
    def check(case: Case) -> None:
        x, images = case.x.astype(np.float32), case.images.astype(np.float32)
        result = denoise(machine, boundary, x, images, case.level, case.k, case.labels, case.wanted)
        for sample, unrounded in enumerate(case.x):
            own = case.images_for(sample)
            exact = oracle.denoise(machine, boundary, unrounded, own, *case.level, case.k)
            bound = oracle.rounding(machine, boundary, unrounded, own, case.level, case.k, 2.0**-24)
            assert (np.abs(result[sample] - exact) <= bound + 4e-6).all()
            tight.append(bound.max() < 1e-2)
            pairs = oracle.pixels(machine, boundary, unrounded, own, case.level[0], case.k)
            undecided.append(min(pixel.weights(case.level[1]).max() for pixel in pairs) < 0.99)

    check()
    assert np.mean(tight) > 0.9, "the bound says nothing in too many cases"
    assert np.mean(undecided) > 0.15, "one candidate has all the weight in too many cases"


def test_longer_windows_and_larger_pixels_need_more_careful_arithmetic() -> None:
    x = torch.zeros(1, 1, 8, 8).normal_(generator=torch.Generator().manual_seed(0))
    level = Level(1.0, 1.0)
    assert choose_arithmetic(x, level, 9, 1.0) == Arithmetic(torch.float32, expanded=True)
    assert choose_arithmetic(x, level, 9 * 10**6, 1.0) == Arithmetic(torch.float64, expanded=True)
    assert choose_arithmetic(x, level, 9, 1e3) == Arithmetic(torch.float64, expanded=True)
    assert choose_arithmetic(x, level, 9, 1e8) == Arithmetic(torch.float32, expanded=False)
    assert choose_arithmetic(1e3 * x, level, 9, 1.0) == Arithmetic(torch.float64, expanded=True)


def test_long_sums_are_trusted_less_than_their_terms_alone() -> None:
    """A hundred times the terms, each a hundredth: their sum is rounded more often."""
    x = torch.zeros(1, 1, 8, 8).normal_(generator=torch.Generator().manual_seed(0))
    single = [
        tuple(
            choose_arithmetic(x, Level(1.0, scale * noise), pixels, 1.0).dtype == torch.float32
            for scale, pixels in ((1, 9), (10, 900))
        )
        for noise in torch.logspace(-2, 1, 60).tolist()
    ]
    assert (True, False) in single
    assert (False, True) not in single


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [3.0, 0.3, 0.03, 0.003])
def test_the_product_is_chosen_only_where_it_keeps_the_logits(dtype: torch.dtype, noise: float) -> None:
    """The worst logit of the chosen arithmetic, against float64 differences of the same numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 1, 5, 5, generator=generator, dtype=dtype)
    images = torch.rand(50, 1, 5, 5, generator=generator, dtype=dtype) * 2 - 1
    chosen = choose_arithmetic(x, Level(1.0, noise), 25, largest_magnitude(images))
    if not chosen.expanded:
        assert noise < 0.1
        return
    queries, keys = (tensor.flatten(1).to(chosen.dtype) for tensor in (x, images))
    logits = ((queries @ keys.T - keys.square().sum(1) / 2) / noise**2).double()
    exact = -torch.cdist(x.double().flatten(1), images.double().flatten(1)).square() / (2 * noise**2)
    exact += x.double().flatten(1).square().sum(1, keepdim=True) / (2 * noise**2)
    allowed = 2e-4 if dtype == torch.float32 else 1e-12
    assert float((logits - exact).abs().max()) < allowed + 64 * 2.0**-53 * float(exact.abs().max())


def test_the_largest_magnitude_may_be_that_of_a_negative_pixel() -> None:
    assert largest_magnitude(torch.tensor([[0.25, -3.0], [2.0, 0.0]])) == 3.0
    assert largest_magnitude(torch.tensor([[0.25, -1.0], [2.0, 0.0]])) == 2.0
