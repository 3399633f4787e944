"""The nearest training images by NumPy's distances, whatever the training set is cut into."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mosaic


def nearest_by_numpy(images: torch.Tensor, training: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and places, of equally near ones the first first."""
    flat, keys = (tensor.double().numpy().reshape(len(tensor), -1) for tensor in (images, training))
    table = np.sqrt(((flat[:, None] - keys[None]) ** 2).sum(2))
    order = np.argsort(table, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(table, order, 1), order


def test_they_are_numpys_and_the_first_of_equal_ones(tiny: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.engine.nearest.CHUNK", 4 * 30)  # several chunks
    training = torch.cat([tiny.images, tiny.images[3:5]])
    images = torch.cat([tiny.images[:6] + 0.01 * torch.randn(6, 1, 6, 5), tiny.images[4:5]])
    distances, indices = mosaic.nearest_images(images, training, 3)
    expected, order = nearest_by_numpy(images, training, 3)
    assert indices.tolist() == order.tolist()
    assert distances.numpy() == pytest.approx(expected, abs=1e-12)
    assert indices[6, :2].tolist() == [4, 13]


@pytest.mark.parametrize("chunk", [1, 60, 2**23])
@pytest.mark.parametrize("count", [1, 2, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunks_decide_nothing(chunk: int, count: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.engine.nearest.CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    training = torch.randint(-1, 2, (11, 2, 3, 2), generator=generator).to(dtype)  # many are equally near
    images = torch.randint(-1, 2, (7, 2, 3, 2), generator=generator).to(dtype)
    distances, indices = mosaic.nearest_images(images, training, count)
    expected, order = nearest_by_numpy(images, training, count)
    assert indices.tolist() == order.tolist()
    assert distances.dtype == torch.float64
    np.testing.assert_allclose(distances, expected, rtol=0, atol=1e-12)


def test_a_distance_between_close_images_does_not_cancel() -> None:
    """As |x|^2 - 2 x.y + |y|^2 it would be lost in the rounding of numbers near 1e6."""
    training = torch.full((3, 1, 4, 4), 1e3, dtype=torch.float64)
    training[1, 0, 2, 2] += 1e-7
    distances, indices = mosaic.nearest_images(training[1:2], training, 3)
    assert indices.tolist() == [[1, 0, 2]]
    assert distances[0].tolist() == pytest.approx([0.0, 1e-7, 1e-7], rel=1e-5)


@pytest.mark.parametrize(
    ("shapes", "count"),
    [
        (((2, 1, 3, 3), (4, 1, 2, 2)), 1),
        (((2, 1, 3, 3), (0, 1, 3, 3)), 1),
        (((0, 1, 3, 3), (4, 1, 3, 3)), 1),
        (((1, 3, 3), (1, 3, 3)), 1),
        (((2, 1, 3, 3), (4, 1, 3, 3)), 5),
        (((2, 1, 3, 3), (4, 1, 3, 3)), 0),
    ],
)
def test_what_cannot_be_found_is_refused(shapes: tuple[tuple[int, ...], ...], count: int) -> None:
    with pytest.raises(mosaic.UsageError, match=r"\(|`count`"):
        mosaic.nearest_images(*map(torch.zeros, shapes), count)
