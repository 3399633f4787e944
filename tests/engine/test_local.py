"""Windows as candidates: the oracle's numbers by every engine, weights and values of windows, and limits."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from analytic_machines import denoise, uniform
from built_kernel import ENGINES
from candidate_posteriors import (
    assert_diagnostics_are_the_oracles,
    assert_mean_is_the_oracles,
    assert_weights_are_multiplicities,
    noisy_case,
    posterior,
)
from torch import Tensor

import mosaic
from mosaic import Compute

MACHINES = [
    ("ls", "zeros", 3), ("ls", "zeros", 9), ("ls", "circular", 5),
    ("els", "zeros", 1), ("els", "zeros", 3), ("els", "zeros", 7), ("els", "circular", 3), ("els", "valid", 3),
]  # fmt: skip
CASES = [(*machine, engine) for machine in MACHINES for engine in ENGINES]


@pytest.mark.parametrize(("machine", "boundary", "k", "engine"), CASES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("noise", [0.06, 0.7])
def test_every_engine_agrees_with_the_oracle(
    machine: str, boundary: str, k: int, engine: str, channels: int, noise: float
) -> None:
    assert_mean_is_the_oracles(machine, boundary, k, engine, channels, noise)


@pytest.mark.parametrize(("machine", "boundary", "k", "engine"), CASES)
@pytest.mark.parametrize("noise", [0.06, 0.7])
def test_diagnostics_agree_with_the_oracle(machine: str, boundary: str, k: int, engine: str, noise: float) -> None:
    assert_diagnostics_are_the_oracles(machine, boundary, k, engine, noise)


@pytest.mark.parametrize(("machine", "boundary", "k", "engine"), CASES)
def test_a_weight_counts_a_candidate_that_many_times(machine: str, boundary: str, k: int, engine: str) -> None:
    assert_weights_are_multiplicities(machine, boundary, k, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_weights_are_those_of_the_window_about_each_pixel(engine: str, boundary: str) -> None:
    x, images, level = noisy_case(1, 0.4)
    weights = torch.rand(len(images), 7, 6, generator=torch.Generator().manual_seed(0)) + 0.1
    actual = posterior("els", boundary, x, images, level, 3, engine, weights=weights).mean()
    pixels = oracle.pixels("els", boundary, x[0].double().numpy(), images.double().numpy(), level.signal, 3)
    for pixel in pixels:
        share = pixel.weights(level.noise) * weights.double().numpy()[tuple(zip(*pixel.places, strict=True))]
        expected = share @ pixel.centres / share.sum()
        assert float(actual[0, 0, pixel.row, pixel.column]) == pytest.approx(float(expected[0]), abs=1e-5)


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize(
    ("machine", "boundary", "k"), [(*case, k) for case in oracle.CASES if case[0] in ("ls", "els") for k in (3, 5)]
)
def test_other_values_than_pixels_are_averaged_alike(machine: str, boundary: str, k: int, engine: str) -> None:
    noise = 0.3
    x, images, level = noisy_case(1, noise)
    values = torch.randn(len(images), 5, 7, 6, generator=torch.Generator().manual_seed(0))
    actual = posterior(machine, boundary, x, images, level, k, engine, block=2**11, values=values).mean()
    assert actual.shape == (2, 5, 7, 6)
    for b in range(2):
        args = (x[b].double().numpy(), images.double().numpy(), level.signal, k)
        for pixel in oracle.pixels(machine, boundary, *args):
            images_of, rows, columns = zip(*pixel.places, strict=True)
            expected = pixel.weights(noise) @ values.double().numpy()[images_of, :, rows, columns]
            np.testing.assert_allclose(actual[b, :, pixel.row, pixel.column], expected, rtol=0, atol=2e-4)


def test_pixels_given_as_values_change_nothing() -> None:
    x, images, level = noisy_case(3, 0.4)
    for windows in (mosaic.local_posterior, mosaic.equivariant_local_posterior):
        plain = windows(x, images, level, 3, compute=Compute("torch")).mean()
        assert torch.equal(windows(x, images, level, 3, values=images.clone(), compute=Compute("torch")).mean(), plain)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (torch.ones(20, 7, 6), r"\(20, V, 7, 6\).*\(20, 7, 6\)"),
        (torch.ones(3, 1, 7, 6), r"\(20, V, 7, 6\).*\(3, 1, 7, 6\)"),
        (torch.ones(20, 0, 7, 6), r"\(20, V, 7, 6\).*\(20, 0, 7, 6\)"),
        (torch.ones(20, 2, 7, 6, dtype=torch.int64), r"torch\.int64"),
    ],
)
def test_values_that_cannot_be_used_are_refused(values: Tensor, named: str) -> None:
    x, images, level = noisy_case(1, 0.4)
    with pytest.raises(mosaic.UsageError, match=rf"^values .*{named}"):
        mosaic.equivariant_local_posterior(x, images, level, 3, values=values)
    if "compiled" in ENGINES:
        with pytest.raises(mosaic.UsageError):
            mosaic.equivariant_local_posterior(x, images, level, 3, values=images.clone(), compute=Compute("compiled"))


def test_gradients_are_not_followed() -> None:
    x, images, level = noisy_case(1, 0.4)
    x.requires_grad_()
    for engine in ENGINES:
        assert not mosaic.equivariant_local_posterior(x, images, level, 3, compute=Compute(engine)).mean().requires_grad


def test_an_engine_that_cannot_serve_is_refused_and_auto_does_without(tiny: mosaic.DataSet) -> None:
    x, level = torch.zeros(1, 1, 6, 5, dtype=torch.float64), mosaic.Level(0.6, 0.8)
    with pytest.raises(mosaic.UsageError, match="float32"):
        mosaic.equivariant_local_posterior(x, tiny.images, level, 3, "zeros", compute=Compute("compiled"))
    with pytest.raises(mosaic.UsageError, match="float32"):
        mosaic.engine_of("compiled", tiny.images, torch.float64)
    auto = mosaic.equivariant_local_posterior(x, tiny.images, level, 3, "zeros", compute=Compute("auto"))
    assert auto.mean().dtype == torch.float64
    assert mosaic.engine_of("auto", tiny.images, torch.float64) == "torch"
    assert mosaic.engine_of("reference", tiny.images, torch.float32) == "reference"


# Limits


@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 6, 3)])
def test_ls_with_a_window_that_always_holds_the_whole_image_is_the_ideal_machine(shape: tuple[int, ...]) -> None:
    x, images, level = uniform(0, 2, *shape), uniform(1, 5, *shape), (0.7, 0.8)
    ideal = denoise("is", None, x, images, level, 1)
    k = 2 * max(shape[1:]) - 1
    for enough in (k, k + 2, k + 20):
        np.testing.assert_allclose(denoise("ls", "zeros", x, images, level, enough), ideal, rtol=0, atol=1e-12)
    assert np.abs(denoise("ls", "zeros", x, images, level, k - 2) - ideal).max() > 1e-4


@pytest.mark.parametrize("size", [3, 5])
def test_els_circular_with_a_window_as_large_as_the_image_is_the_equivariant_machine(size: int) -> None:
    x, images, level = uniform(0, 2, 3, size, size), uniform(1, 3, 3, size, size), (0.6, 0.8)
    whole = denoise("es", None, x, images, level, 1)
    np.testing.assert_allclose(denoise("els", "circular", x, images, level, size), whole, rtol=0, atol=1e-12)
    assert np.abs(denoise("els", "circular", x, images, level, size - 2) - whole).max() > 1e-4


def test_els_zeros_without_interior_windows_is_ls() -> None:
    x, images, level = uniform(0, 2, 1, 4, 6), uniform(1, 4, 1, 4, 6), (0.7, 0.7)
    for k in (7, 9, 11):
        local = denoise("ls", "zeros", x, images, level, k)
        np.testing.assert_allclose(denoise("els", "zeros", x, images, level, k), local, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axis", [2, 3])
def test_els_zeros_without_interior_windows_on_one_axis_stays_in_place_on_that_axis(axis: int) -> None:
    # Along the short axis every image has the same profile, so a machine that stays in place returns it.
    profile = np.array([0.9, -0.4, 0.1, -0.8])
    shape = [5, 1, 7, 7]
    shape[axis] = 4
    tall = profile.reshape([4 if a == axis else 1 for a in range(4)])
    images = np.broadcast_to(tall, shape).copy()
    x = uniform(0, 1, *shape[1:])
    result = denoise("els", "zeros", x, images, (0.5, 3.0), 5)
    np.testing.assert_allclose(result, np.broadcast_to(tall, x.shape), rtol=0, atol=1e-14)
    mixed = denoise("els", "zeros", x, images, (0.5, 3.0), 3)  # rows 1 and 2 are interior here
    assert np.abs(mixed - np.broadcast_to(tall, x.shape)).max() > 0.1
