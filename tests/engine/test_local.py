"""Every engine of every machine: the oracle's numbers, weights as multiplicities, and what diagnostics say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from torch import Tensor

import mosaic
from mosaic import Compute, Level, Posterior
from mosaic.engine.compiler import KernelUnavailable, load_kernel

try:
    load_kernel()
    ENGINES = ["compiled", "torch", "reference"]
except KernelUnavailable:
    ENGINES = ["torch", "reference"]

MACHINES = [
    ("is", None, 3), ("es", None, 3),
    ("ls", "zeros", 3), ("ls", "zeros", 9), ("ls", "circular", 5),
    ("els", "zeros", 1), ("els", "zeros", 3), ("els", "zeros", 7), ("els", "circular", 3), ("els", "valid", 3),
]  # fmt: skip
CASES = [
    (machine, boundary, k, engine)
    for machine, boundary, k in MACHINES
    for engine in (ENGINES if machine in ("ls", "els") else ["torch"])
]


def posterior(
    machine: str, boundary: str | None, x: Tensor, images: Tensor, level: Level, k: int, engine: str, **extra: Any
) -> Posterior:
    compute = Compute(engine, diagnostics=extra.pop("diagnostics", False), block=extra.pop("block", 2**20))
    if machine in ("is", "es"):
        whole: Callable[..., Posterior] = {"is": mosaic.ideal_posterior, "es": mosaic.equivariant_posterior}[machine]
        return whole(x, images, level, compute=compute, **extra)
    windows = {"ls": mosaic.local_posterior, "els": mosaic.equivariant_local_posterior}[machine]
    return windows(x, images, level, k, boundary, compute=compute, **extra)


def case(channels: int, noise: float, count: int = 20) -> tuple[Tensor, Tensor, Level]:
    """Two noisy images, training images with one pair of duplicates and blank places, and a level."""
    generator = torch.Generator().manual_seed(7)
    images = torch.rand(count, channels, 7, 6, generator=generator) * 2 - 1
    images[:, :, :3, :4] = -1
    images[count // 2 :, :, :, 5] = -1
    images[count - 1] = images[3]
    level = Level(math.sqrt(1 - noise**2), noise)
    x = level.signal * images[2:4] + noise * torch.randn(2, channels, 7, 6, generator=generator)
    return x, images, level


@pytest.mark.parametrize(("machine", "boundary", "k", "engine"), CASES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("noise", [0.06, 0.7])
def test_every_engine_agrees_with_the_oracle(
    machine: str, boundary: str | None, k: int, engine: str, channels: int, noise: float
) -> None:
    x, images, level = case(channels, noise)
    actual = posterior(machine, boundary, x, images, level, k, engine, block=2**12).mean()
    expected = [
        oracle.denoise(machine, boundary, one, images.double().numpy(), level.signal, noise, k)
        for one in x.double().numpy()
    ]
    np.testing.assert_allclose(actual, np.stack(expected), rtol=0, atol=5e-5)


@pytest.mark.parametrize(("machine", "boundary", "k", "engine"), CASES)
@pytest.mark.parametrize("noise", [0.06, 0.7])
def test_diagnostics_agree_with_the_oracle(
    machine: str, boundary: str | None, k: int, engine: str, noise: float
) -> None:
    x, images, level = case(1, noise)
    plain = posterior(machine, boundary, x, images, level, k, engine, block=2**12)
    actual = posterior(machine, boundary, x, images, level, k, engine, block=2**12, diagnostics=True)
    torch.testing.assert_close(actual.mean(), plain.mean(), rtol=0, atol=2e-6)
    image, row, column = actual.candidate()
    for sample in range(2):
        pairs = oracle.pixels(machine, boundary, x[sample].double().numpy(), images.double().numpy(), level.signal, k)
        for pixel in pairs:
            at = (sample, pixel.row, pixel.column) if actual.maximum.shape[1:] == (7, 6) else (sample, 0, 0)
            if at[1:] == (0, 0) != (pixel.row, pixel.column) and actual.maximum.shape[1:] == (1, 1):
                continue  # one posterior an image
            weights = pixel.weights(noise)
            entropy = -float(np.sum(weights * np.log(np.maximum(weights, 1e-300))))
            assert float(actual.entropy()[at]) == pytest.approx(entropy, abs=2e-4)
            place = (int(image[at]), int(row[at]), int(column[at]))
            logits = pixel.logits(noise)
            chosen = pixel.places.index(place)
            assert logits[chosen] > logits.max() - 1e-4  # float32 cannot tell closer ones apart
            first = next(i for i, patch in enumerate(pixel.patches) if np.array_equal(patch, pixel.patches[chosen]))
            assert chosen == first  # equal windows tie exactly


@pytest.mark.parametrize(("machine", "boundary", "k", "engine"), CASES)
def test_a_weight_counts_a_candidate_that_many_times(machine: str, boundary: str | None, k: int, engine: str) -> None:
    x, images, level = case(1, 0.4)
    times = torch.arange(len(images)) % 3 + 1
    weights = times.float() if machine in ("is", "es") else times.float()[:, None, None].expand(-1, 7, 6)
    repeated = images.repeat_interleave(times, dim=0)
    actual = posterior(machine, boundary, x, images, level, k, engine, block=2**11, weights=weights)
    expected = posterior(machine, boundary, x, repeated, level, k, engine)
    torch.testing.assert_close(actual.mean(), expected.mean(), rtol=0, atol=5e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_weights_are_those_of_the_window_about_each_pixel(engine: str, boundary: str) -> None:
    x, images, level = case(1, 0.4)
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
    x, images, level = case(1, noise)
    values = torch.randn(len(images), 5, 7, 6, generator=torch.Generator().manual_seed(0))
    actual = posterior(machine, boundary, x, images, level, k, engine, block=2**11, values=values).mean()
    assert actual.shape == (2, 5, 7, 6)
    for b in range(2):
        args = (x[b].double().numpy(), images.double().numpy(), level.signal, k)
        for pixel in oracle.pixels(machine, boundary, *args):
            expected = sum(
                w * values[n, :, i, j].double() for w, (n, i, j) in zip(pixel.weights(noise), pixel.places, strict=True)
            )
            torch.testing.assert_close(actual[b, :, pixel.row, pixel.column].double(), expected, rtol=0, atol=2e-4)


def test_pixels_given_as_values_change_nothing() -> None:
    x, images, level = case(3, 0.4)
    for windows in (mosaic.local_posterior, mosaic.equivariant_local_posterior):
        plain = windows(x, images, level, 3, compute=Compute("torch")).mean()
        assert torch.equal(windows(x, images, level, 3, values=images.clone(), compute=Compute("torch")).mean(), plain)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (torch.ones(20, 7, 6), "shape"),
        (torch.ones(3, 1, 7, 6), "shape"),
        (torch.ones(20, 0, 7, 6), "shape"),
        (torch.ones(20, 2, 7, 6, dtype=torch.int64), "floating"),
    ],
)
def test_values_that_cannot_be_used_are_refused(values: Tensor, word: str) -> None:
    x, images, level = case(1, 0.4)
    with pytest.raises(mosaic.UsageError, match=rf"values must .*{word}"):
        mosaic.equivariant_local_posterior(x, images, level, 3, values=values)
    if "compiled" in ENGINES:
        with pytest.raises(mosaic.UsageError):
            mosaic.equivariant_local_posterior(x, images, level, 3, values=images.clone(), compute=Compute("compiled"))


@pytest.mark.parametrize("weights", [torch.ones(3, 7, 6), torch.zeros(20, 7, 6), torch.full((20, 7, 6), math.nan)])
def test_weights_that_cannot_be_used_are_refused(weights: Tensor) -> None:
    x, images, level = case(1, 0.4)
    with pytest.raises(mosaic.UsageError, match="weights"):
        mosaic.equivariant_local_posterior(x, images, level, 3, weights=weights)


def test_a_posterior_without_diagnostics_says_how_to_get_them() -> None:
    x, images, level = case(1, 0.4)
    actual = mosaic.ideal_posterior(x, images, level)
    for question in (actual.entropy, actual.candidate):
        with pytest.raises(mosaic.UsageError, match="diagnostics=True"):
            question()


@pytest.mark.parametrize(("machine", "boundary", "k", "engine"), [c for c in CASES if c[0] in ("ls", "els")])
def test_no_engine_depends_on_the_number_of_threads(machine: str, boundary: str, k: int, engine: str) -> None:
    x, images, level = case(1, 0.4, 200)
    threads, actual = torch.get_num_threads(), []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            actual.append(posterior(machine, boundary, x, images, level, k, engine, block=2**12).mean())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(actual[0], other) for other in actual[1:])


def test_an_overflowing_reference_of_the_torch_engine_is_redone() -> None:
    """The first images set the references; here a later one is thousands of bits nearer."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 1, 8, 8, generator=generator) * 0.01
    images[-1] = 1
    x = images[-1:] + 0.05 * torch.randn(1, 1, 8, 8, generator=generator)
    level = Level(1.0, 0.05)
    actual, expected = (
        mosaic.equivariant_local_posterior(x, images, level, 3, compute=Compute(engine)).mean()
        for engine in ("torch", "reference")
    )
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    "function", ["ideal_posterior", "equivariant_posterior", "local_posterior", "equivariant_local_posterior"]
)
@pytest.mark.parametrize("fault", ["one image", "other size", "no noise"])
def test_input_that_does_not_fit_is_refused(function: str, fault: str) -> None:
    x, images, level = case(1, 0.4)
    scale = () if function in ("ideal_posterior", "equivariant_posterior") else (3,)
    x = {"one image": x[0], "other size": x[:, :, :5]}.get(fault, x)
    level = Level(1.0, 0.0) if fault == "no noise" else level
    with pytest.raises(mosaic.UsageError, match="posterior" if fault == "no noise" else "shape"):
        getattr(mosaic, function)(x, images, level, *scale)


def test_a_posterior_is_shown_by_its_shape() -> None:
    x, images, level = case(1, 0.4)
    assert repr(mosaic.ideal_posterior(x, images, level)) == "Posterior(B, C, H, W = (2, 1, 7, 6))"


def test_long_windows_on_a_constant_background_stay_accurate() -> None:
    """Where float32 is only just allowed, and all terms of a long sum have one sign."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(32, 1, 10, 10, generator=generator) * 2 - 1
    images[torch.rand(images.shape, generator=generator) < 0.9] = -1
    for noise in (1.0, 1.5, 1.865, 2.5, 4.0):
        x = images[:1] + noise * torch.randn(1, 1, 10, 10, generator=generator)
        exact = mosaic.equivariant_local_posterior(
            x, images, Level(1.0, noise), 61, "circular", compute=Compute("reference")
        ).mean()
        for engine in ENGINES:
            actual = mosaic.equivariant_local_posterior(
                x, images, Level(1.0, noise), 61, "circular", compute=Compute(engine)
            ).mean()
            assert float((actual - exact).abs().max()) < 1e-3, (engine, noise)


def test_gradients_are_not_followed() -> None:
    x, images, level = case(1, 0.4)
    x.requires_grad_()
    for engine in ENGINES:
        assert not mosaic.equivariant_local_posterior(x, images, level, 3, compute=Compute(engine)).mean().requires_grad
