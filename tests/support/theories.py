"""The other theories as the tests call them: small images, models by name, and what holds of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import torch

import mosaic

__all__ = [
    "FEW",
    "LEVELS",
    "MANY",
    "assert_agrees",
    "assert_is_compared_with_its_class_only",
    "assert_is_the_machine",
    "images_of",
    "model_of",
    "noisy",
]

LEVELS = [(1.0, 0.05), (0.9, 0.4), (0.4, 0.9), (0.05, 3.0)]
FEW, MANY = 9, 40  # training images: fewer and more than the numbers of an image


def images_of(count: int = FEW, channels: int = 2, height: int = 4, width: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = rng.uniform(-1, 1, (count, channels, 1, 1)) * np.linspace(0.2, 1, width)
    return np.clip(0.6 * smooth + 0.4 * rng.uniform(-1, 1, (count, channels, height, width)), -1, 1)


def model_of(name: str, images: np.ndarray, labels: Any = None, **options: Any) -> Any:
    kind = mosaic.registry().get("score", name)
    classes = None if labels is None else torch.as_tensor(labels, dtype=torch.int64)
    return kind(kind.Options(**options), mosaic.DataSet("t", torch.as_tensor(images), classes))


def noisy(images: np.ndarray, level: tuple[float, float], count: int = 3) -> np.ndarray:
    return level[0] * images[:count] + level[1] * np.random.default_rng(7).standard_normal(images[:count].shape)


def assert_agrees(
    model: Any, x: np.ndarray, level: tuple[float, float], exact: Callable[..., np.ndarray], k: int = 3
) -> None:
    """Hold a model to `exact`: in float64 to rounding, and in float32 near it."""
    expected = np.stack([exact(sample, *level) for sample in x])
    actual = model.denoise(torch.as_tensor(x), mosaic.Level(*level), None, k).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)
    single = model_of(model.name, model.dataset.images.numpy().astype(np.float32), **model.options.model_dump())
    near = single.denoise(torch.as_tensor(x, dtype=torch.float32), mosaic.Level(*level), None, k)
    assert near.dtype == torch.float32
    np.testing.assert_allclose(near.numpy(), expected, rtol=0, atol=2e-3)


def assert_is_the_machine(
    model: Any, machine: str, boundary: str | None, level: tuple[float, float], k: int = 3
) -> None:
    """Hold a model, in a limit, to a machine of the paper."""
    images = model.dataset.images.numpy()
    x = noisy(images, level)
    actual = model.denoise(torch.as_tensor(x), mosaic.Level(*level), None, k).numpy()
    expected = np.stack([oracle.denoise(machine, boundary, sample, images, *level, k) for sample in x])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-7)


def assert_is_compared_with_its_class_only(name: str, **options: Any) -> None:
    """A sample with a label is the model's on the images of that class alone."""
    images, labels = images_of(MANY), np.arange(MANY) % 3
    level, x = mosaic.Level(0.8, 0.5), torch.as_tensor(images[:4])
    actual = model_of(name, images, labels, **options).denoise(x, level, torch.tensor([2, -1, 0, 2]), 3)
    own = [model_of(name, images[labels == label], **options) for label in (2, 0)]
    torch.testing.assert_close(actual[[0, 3]], own[0].denoise(x[[0, 3]], level, None, 3))
    torch.testing.assert_close(actual[[2]], own[1].denoise(x[[2]], level, None, 3))
    torch.testing.assert_close(actual[[1]], model_of(name, images, labels, **options).denoise(x[[1]], level, None, 3))
