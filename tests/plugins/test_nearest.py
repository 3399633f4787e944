"""The machines without noise at every level: nearest images and nearest windows by brute force."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from theories import LEVELS, assert_agrees, assert_is_compared_with_its_class_only, images_of, model_of, noisy

import mosaic

pytestmark = pytest.mark.usefixtures("pieces")


@pytest.mark.parametrize("level", LEVELS)
def test_nearest_is_the_nearest_image(level: tuple[float, float]) -> None:
    images = images_of()

    def exact(x: np.ndarray, a: float, s: float) -> np.ndarray:
        return images[((x / a - images) ** 2).sum((1, 2, 3)).argmin()]

    assert_agrees(model_of("nearest", images), noisy(images, level), level, exact)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid"])
def test_nearest_patch_is_the_centre_of_the_nearest_window(level: tuple[float, float], boundary: str) -> None:
    images = images_of(height=5, width=4)
    assert_agrees(
        model_of("nearest-patch", images, boundary=boundary),
        noisy(images, level),
        level,
        lambda x, a, s: oracle.nearest("els", boundary, x, images, a, 3)[0],
    )


def test_nearest_at_little_noise_is_the_is_machine() -> None:
    images = images_of()
    x = torch.as_tensor(images + 0.01 * np.random.default_rng(1).standard_normal(images.shape))
    actual = model_of("nearest", images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3)
    torch.testing.assert_close(actual, model_of("is", images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3))


def test_nearest_patch_at_little_noise_is_the_els_machine() -> None:
    images = images_of()
    x = torch.as_tensor(images + 0.01 * np.random.default_rng(1).standard_normal(images.shape))
    actual = model_of("nearest-patch", images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3)
    torch.testing.assert_close(actual, model_of("els", images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3))


@pytest.mark.parametrize("name", ["nearest", "nearest-patch"])
def test_a_sample_with_a_label_is_compared_with_its_class_only(name: str) -> None:
    assert_is_compared_with_its_class_only(name)


@pytest.mark.parametrize("name", ["nearest", "nearest-patch"])
def test_only_what_x_over_the_signal_is_counts(name: str) -> None:
    images = images_of()
    x, model = torch.as_tensor(images[:3]) + 0.3, model_of(name, images)
    first = model.denoise(x, mosaic.Level(1.0, 0.1), None, 3)
    assert torch.equal(model.denoise(0.5 * x, mosaic.Level(0.5, 7.0), None, 3), first)


@pytest.mark.parametrize("name", ["nearest", "nearest-patch"])
def test_it_is_certain_of_its_candidate(name: str) -> None:
    images = images_of()
    x = torch.as_tensor(noisy(images, (0.4, 0.9)))
    actual = model_of(name, images).attribute(x, mosaic.Level(0.4, 0.9), None, 3)
    source = actual.source
    assert (actual.entropy == 0).all()
    assert (actual.weight == 1).all()
    pixels = torch.as_tensor(images)[source.image, :, source.row, source.column].movedim(-1, 1)
    assert torch.equal(pixels, actual.denoised)
