"""Posterior means of whole patches by brute force, and the machines they come to."""

from __future__ import annotations

import numpy as np
import pytest
import theory_oracle
import torch
from theories import (
    LEVELS,
    MANY,
    assert_agrees,
    assert_is_compared_with_its_class_only,
    assert_is_the_machine,
    images_of,
    model_of,
    noisy,
)

import mosaic
from mosaic_plugins.patch_posterior import composite

pytestmark = pytest.mark.usefixtures("pieces")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("k", "wraps"), [(1, False), (3, False), (3, True)])
def test_patch_posterior_averages_the_means_of_whole_patches(level: tuple[float, float], k: int, wraps: bool) -> None:
    images = images_of(height=5, width=4)
    assert_agrees(
        model_of("patch-posterior", images, boundary="circular" if wraps else "zeros"),
        noisy(images, level),
        level,
        lambda x, a, s: theory_oracle.patch_posterior(x, images, a, s, k, wraps),
        k,
    )


@pytest.mark.parametrize("level", LEVELS)
def test_a_patch_larger_than_the_image_is_the_ideal_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("patch-posterior", images_of(MANY)), "is", None, level, k=5)


@pytest.mark.parametrize("level", LEVELS)
def test_a_patch_of_a_pixel_is_the_local_machine(level: tuple[float, float]) -> None:
    assert_is_the_machine(model_of("patch-posterior", images_of(MANY)), "ls", "zeros", level, k=1)


def test_patch_posterior_at_little_noise_is_the_is_machine() -> None:
    images = images_of()
    x = torch.as_tensor(images + 0.01 * np.random.default_rng(1).standard_normal(images.shape))
    actual = model_of("patch-posterior", images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3)
    torch.testing.assert_close(actual, model_of("is", images).denoise(x, mosaic.Level(1.0, 1e-3), None, 3))


def test_a_sample_with_a_label_is_compared_with_its_class_only() -> None:
    assert_is_compared_with_its_class_only("patch-posterior")


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_a_pixel_depends_on_the_window_that_the_trait_names(boundary: str) -> None:
    images = torch.as_tensor(images_of(MANY, height=9, width=9))
    x, level = torch.as_tensor(noisy(images.numpy(), (0.8, 0.6)))[:1], mosaic.Level(0.8, 0.6)
    model = model_of("patch-posterior", images.numpy(), boundary=boundary)
    side = model.traits.window(3)
    moved = x.clone()
    moved[0, 0, 4, 4] += 1
    apart = (model.denoise(moved, level, None, 3) - model.denoise(x, level, None, 3)).abs().amax((0, 1))
    reach = torch.nonzero(apart > 1e-9) - 4
    assert side == 5
    assert int(reach.abs().max()) == side // 2


def test_a_wrapping_composite_commutes_with_one_shift_of_x_and_images() -> None:
    images = torch.as_tensor(images_of(height=5, width=4))
    x, level = torch.as_tensor(noisy(images.numpy(), (0.8, 0.6))), mosaic.Level(0.8, 0.6)
    still = composite(x, images, level, 3, "circular")
    moved = composite(x.roll((2, 3), (2, 3)), images.roll((2, 3), (2, 3)), level, 3, "circular")
    torch.testing.assert_close(moved, still.roll((2, 3), (2, 3)), rtol=0, atol=1e-12)


def test_its_patches_are_compared_by_torch_whatever_attributes_their_pixels() -> None:
    model = model_of("patch-posterior", images_of().astype(np.float32))
    assert [model.traits.engine(dtype) for dtype in (torch.float32, torch.float64)] == ["torch", "torch"]
