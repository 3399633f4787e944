"""Resizing against a float64 triangle filter written out as matrices, and against PIL."""

import numpy as np
import pytest
import torch
from PIL import Image

from mosaic_data.resize import resize


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
