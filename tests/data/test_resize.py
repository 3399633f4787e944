"""Resizing against a float64 triangle filter written out as matrices, and against PIL."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mosaic_data.resize import resample, resampled_shape, resize


def bilinear_weights(source: int, target: int) -> np.ndarray:
    """Rows of a triangle filter of half-width max(1, source / target), centred as the pixels are."""
    ratio = source / target
    centre = (np.arange(target)[:, None] + 0.5) * ratio
    weights = np.maximum(0, 1 - np.abs(np.arange(source)[None] + 0.5 - centre) / max(ratio, 1.0))
    return np.asarray(weights / weights.sum(1, keepdims=True))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (218, 178), (8, 100)])
def test_resize_is_the_antialiased_triangle_filter(height: int, width: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 2, height, width), np.uint8)
    rows, columns = bilinear_weights(height, 32), bilinear_weights(width, 32)
    expected = rows @ (pixels / 127.5 - 1) @ columns.T
    np.testing.assert_allclose(resize(torch.from_numpy(pixels), 32).numpy(), expected, atol=2e-6)


def test_resize_agrees_with_pil_up_to_its_rounding() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (28, 28), np.uint8)
    resized = resize(torch.from_numpy(pixels)[None, None], 32)[0, 0].numpy()
    reference = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs((resized + 1) * 127.5 - reference).max() < 1.01  # PIL rounds after each of two passes


def test_resize_keeps_black_and_white_within_range() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 1, 28, 28)
    black, white = resize(pixels, 32)
    assert (black == -1).all()
    torch.testing.assert_close(white, torch.ones(1, 32, 32))
    assert white.max() <= 1


def test_resize_in_chunks_equals_resize_of_single_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randint(0, 256, (7, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("mosaic_data.resize.CHUNK", 3)
    assert torch.equal(resize(pixels, 32), torch.cat([resize(image[None], 32) for image in pixels]))


@pytest.mark.parametrize(
    ("shape", "size", "how", "scaled"),
    [
        ((40, 60), (20, 20), "fit", (20, 20)),
        ((40, 60), (20, 20), "crop", (20, 30)),
        ((40, 60), (20, 20), "pad", (13, 20)),
        ((60, 40), (20, 40), "crop", (60, 40)),
        ((60, 40), (20, 40), "pad", (20, 13)),
        ((7, 5), (21, 15), "crop", (21, 15)),
        ((1, 1000), (8, 8), "pad", (1, 8)),
    ],
)
def test_images_are_scaled_then_cropped_or_padded_about_their_centre(
    shape: tuple[int, int], size: tuple[int, int], how: Any, scaled: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(4).integers(0, 65536, (2, *shape)).astype(np.float64)
    rows, columns = (bilinear_weights(*lengths) for lengths in zip(shape, scaled, strict=True))
    large, expected = rows @ pixels @ columns.T, np.zeros((2, *size))
    if how == "pad":
        top, left = ((wanted - given) // 2 for wanted, given in zip(size, scaled, strict=True))
        expected[:, top : top + scaled[0], left : left + scaled[1]] = large
    else:  # of an odd number of pixels the first side loses more
        top, left = (-((wanted - given) // 2) for wanted, given in zip(size, scaled, strict=True))
        expected = large[:, top : top + size[0], left : left + size[1]]
    assert resampled_shape(shape, size, how) == scaled
    actual = resample(torch.from_numpy(pixels).float()[None], size, how)[0].numpy()
    np.testing.assert_allclose(actual, expected, atol=65535 * 1e-6)


@pytest.mark.parametrize("how", ["fit", "crop", "pad"])
def test_half_of_two_pixels_is_their_mean_and_the_same_size_is_the_same_image(how: Any) -> None:
    quarter = torch.tensor([[0.0, 255.0], [100.0, 5.0]])[None, None]
    assert resample(quarter, (1, 1), how).item() == 90
    image = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    assert resample(image, (9, 7), how) is image


def test_what_needs_no_scaling_is_cropped_and_padded_exactly() -> None:
    image = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)
    assert torch.equal(resample(image, (3, 2), "crop"), image[..., 1:3])
    padded = resample(image, (6, 4), "pad")
    assert torch.equal(padded[..., 1:4, :], image)
    assert padded.sum() == image.sum()
