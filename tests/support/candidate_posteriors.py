"""Posteriors of the four machines from each engine, on one small case, and what the brute force says of them."""

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

__all__ = [
    "ADVERSARIAL",
    "adversarial",
    "assert_diagnostics_are_the_oracles",
    "assert_mean_is_the_oracles",
    "assert_weights_are_multiplicities",
    "by_reference",
    "noisy_case",
    "posterior",
]

ADVERSARIAL = ("constant", "duplicates", "one", "far", "spike", "equal")


def posterior(
    machine: str, boundary: str | None, x: Tensor, images: Tensor, level: Level, k: int, engine: str, **extra: Any
) -> Posterior:
    how = {"diagnostics": False, "block": 2**20, "shards": None}
    compute = Compute(engine, **{name: extra.pop(name, value) for name, value in how.items()})  # type: ignore[arg-type]
    if machine in ("is", "es"):
        whole: Callable[..., Posterior] = {"is": mosaic.ideal_posterior, "es": mosaic.equivariant_posterior}[machine]
        return whole(x, images, level, compute=compute, **extra)
    windows = {"ls": mosaic.local_posterior, "els": mosaic.equivariant_local_posterior}[machine]
    return windows(x, images, level, k, boundary, compute=compute, **extra)


def by_reference(x: Tensor, images: Tensor, level: Level, k: int, boundary: str) -> Tensor:
    """ELS by the reference engine in float64."""
    return posterior("els", boundary, x.double(), images.double(), level, k, "reference").mean()


def noisy_case(channels: int, noise: float, count: int = 20) -> tuple[Tensor, Tensor, Level]:
    """Two noisy images, training images with one pair of duplicates and blank places, and a level."""
    generator = torch.Generator().manual_seed(7)
    images = torch.rand(count, channels, 7, 6, generator=generator) * 2 - 1
    images[:, :, :3, :4] = -1
    images[count // 2 :, :, :, 5] = -1
    images[count - 1] = images[3]
    level = Level(math.sqrt(1 - noise**2), noise)
    x = level.signal * images[2:4] + noise * torch.randn(2, channels, 7, 6, generator=generator)
    return x, images, level


def adversarial(case: str, noise: float) -> tuple[Tensor, Tensor, Level]:
    """Noisy images, training images and level at which engines have gone wrong."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(60, 1, 9, 9, generator=generator) * 2 - 1
    if case == "constant":
        images[:] = 0.5
    elif case == "duplicates":
        images = images[:3].repeat(40, 1, 1, 1)
    elif case == "one":
        images = images[:1]
    elif case == "spike":  # one window far above all others, late: the reference must rise by thousands of bits
        images = images * 0.01
        images[-1] = 1
    x = images[-1:] + noise * torch.randn(2, 1, 9, 9, generator=generator)
    if case == "far":
        x = x + 30
    if case == "equal":  # every window is as far from x as any other
        images, x = images.sign(), torch.zeros_like(x)
    return x, images, Level(1.0, noise)


def assert_mean_is_the_oracles(
    machine: str, boundary: str | None, k: int, engine: str, channels: int, noise: float
) -> None:
    x, images, level = noisy_case(channels, noise)
    actual = posterior(machine, boundary, x, images, level, k, engine, block=2**12).mean()
    expected = [
        oracle.denoise(machine, boundary, sample, images.double().numpy(), level.signal, noise, k)
        for sample in x.double().numpy()
    ]
    np.testing.assert_allclose(actual, np.stack(expected), rtol=0, atol=5e-5)


def assert_diagnostics_are_the_oracles(
    machine: str, boundary: str | None, k: int, engine: str, noise: float, channels: int = 1
) -> None:
    x, images, level = noisy_case(channels, noise)
    plain = posterior(machine, boundary, x, images, level, k, engine, block=2**12)
    actual = posterior(machine, boundary, x, images, level, k, engine, block=2**12, diagnostics=True)
    torch.testing.assert_close(actual.mean(), plain.mean(), rtol=0, atol=2e-6)
    image, row, column = actual.candidate()
    entropies = actual.entropy()
    for sample in range(2):
        pairs = oracle.pixels(machine, boundary, x[sample].double().numpy(), images.double().numpy(), level.signal, k)
        for pixel in pairs:
            at = (sample, pixel.row, pixel.column) if actual.maximum.shape[1:] == (7, 6) else (sample, 0, 0)
            if at[1:] == (0, 0) != (pixel.row, pixel.column) and actual.maximum.shape[1:] == (1, 1):
                continue  # one posterior an image
            weights = pixel.weights(noise)
            entropy = -float(np.sum(weights * np.log(np.maximum(weights, 1e-300))))
            assert float(entropies[at]) == pytest.approx(entropy, abs=2e-4)
            place = (int(image[at]), int(row[at]), int(column[at]))
            logits = pixel.logits(noise)
            chosen = pixel.places.index(place)
            assert logits[chosen] > logits.max() - 1e-4  # float32 does not distinguish closer ones
            first = int((pixel.patches == pixel.patches[chosen]).all(axis=1).argmax())
            assert chosen == first  # equal windows tie exactly


def assert_weights_are_multiplicities(
    machine: str, boundary: str | None, k: int, engine: str, channels: int = 1
) -> None:
    x, images, level = noisy_case(channels, 0.4)
    times = torch.arange(len(images)) % 3 + 1
    weights = times.float() if machine in ("is", "es") else times.float()[:, None, None].expand(-1, 7, 6)
    repeated = images.repeat_interleave(times, dim=0)
    actual = posterior(machine, boundary, x, images, level, k, engine, block=2**11, weights=weights)
    expected = posterior(machine, boundary, x, repeated, level, k, engine)
    torch.testing.assert_close(actual.mean(), expected.mean(), rtol=0, atol=5e-5)
