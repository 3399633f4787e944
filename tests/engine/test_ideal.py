"""Whole images as candidates: the oracle's numbers, weights as multiplicities, and what diagnostics say."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from analytic_machines import uniform
from candidate_posteriors import (
    assert_diagnostics_are_the_oracles,
    assert_mean_is_the_oracles,
    assert_weights_are_multiplicities,
    noisy_case,
)

import mosaic
from mosaic import Compute, Level

MACHINES = pytest.mark.parametrize("machine", ["is", "es"])


@MACHINES
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("noise", [0.06, 0.7])
def test_the_posterior_mean_is_the_oracles(machine: str, channels: int, noise: float) -> None:
    assert_mean_is_the_oracles(machine, None, 3, "torch", channels, noise)


@MACHINES
@pytest.mark.parametrize("noise", [0.06, 0.7])
def test_diagnostics_agree_with_the_oracle(machine: str, noise: float) -> None:
    assert_diagnostics_are_the_oracles(machine, None, 3, "torch", noise)


@MACHINES
def test_a_weight_counts_a_candidate_that_many_times(machine: str) -> None:
    assert_weights_are_multiplicities(machine, None, 3, "torch")


@MACHINES
@pytest.mark.parametrize("noise", [1e-3, 0.02, 0.5, 20.0])
def test_products_and_differences_are_the_oracles_in_float64(machine: str, noise: float) -> None:
    """At the least noise float64 goes over to differences; at the most the product serves."""
    images = uniform(0, 5, 2, 4, 6)
    x = images[[3, 1]] + noise * np.random.default_rng(1).standard_normal((2, 2, 4, 6))
    compare = {"is": mosaic.ideal_posterior, "es": mosaic.equivariant_posterior}[machine]
    actual = compare(torch.as_tensor(x), torch.as_tensor(images), Level(1.0, noise)).mean()
    expected = [oracle.denoise(machine, None, sample, images, 1.0, noise, 0) for sample in x]
    np.testing.assert_allclose(actual, np.stack(expected), rtol=0, atol=1e-10)


@MACHINES
@pytest.mark.parametrize("shape", [(4, 5, 3), (7,), (4, 1)])
def test_weights_of_another_shape_are_refused_with_it(machine: str, shape: tuple[int, ...]) -> None:
    x, images, level = noisy_case(1, 0.4, count=4 if len(shape) == 3 else 20)
    compare = {"is": mosaic.ideal_posterior, "es": mosaic.equivariant_posterior}[machine]
    with pytest.raises(mosaic.UsageError) as caught:
        compare(x, images, level, weights=torch.ones(shape))
    assert str(shape) in str(caught.value)


@MACHINES
def test_all_pixels_share_a_posterior_that_blocks_do_not_change(machine: str) -> None:
    x, images, level = noisy_case(3, 0.5)
    x, images = x.double(), images.double()
    compare = {"is": mosaic.ideal_posterior, "es": mosaic.equivariant_posterior}[machine]
    whole, cut = (compare(x, images, level, compute=Compute(diagnostics=True, block=b)) for b in (2**20, 1))
    assert whole.maximum.shape == whole.total.shape == (2, 1, 1)
    assert torch.equal(whole.source, cut.source)
    torch.testing.assert_close(whole.mean(), cut.mean(), rtol=0, atol=1e-12)
    torch.testing.assert_close(whole.entropy(), cut.entropy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (2, 4), (3, 5)])
def test_a_translate_comes_back_and_names_the_pixel_that_came_first(shift: tuple[int, int]) -> None:
    images = torch.as_tensor(uniform(0, 5, 2, 4, 6))
    moved = images[3].roll(shift, (1, 2))[None]
    posterior = mosaic.equivariant_posterior(moved, images, Level(1.0, 0.05), compute=Compute(diagnostics=True))
    torch.testing.assert_close(posterior.mean(), moved, rtol=0, atol=1e-9)
    place = tuple(int(part) for part in posterior.candidate())
    assert place == (3, -shift[0] % 4, -shift[1] % 6)
    assert float(posterior.entropy()) == pytest.approx(0, abs=1e-9)


def test_a_pixel_shared_by_all_images_stays_as_it_is() -> None:
    images = torch.as_tensor(uniform(0, 300, 1, 5, 4)).float()
    images[:, :, 2, 1] = -1
    x = torch.randn(3, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    for noise in (0.1, 1.0, 30.0):
        assert (mosaic.ideal_posterior(x, images, Level(1.0, noise)).mean()[:, :, 2, 1] == -1).all()


def test_the_entropy_at_infinite_noise_is_the_logarithm_of_the_number_of_candidates() -> None:
    images = torch.as_tensor(uniform(0, 7, 1, 4, 6))
    for compare, count in ((mosaic.ideal_posterior, 7), (mosaic.equivariant_posterior, 7 * 24)):
        posterior = compare(images[:2], images, Level(1.0, 1e6), compute=Compute(diagnostics=True))
        assert posterior.entropy().flatten().tolist() == pytest.approx([np.log(count)] * 2, abs=1e-6)
