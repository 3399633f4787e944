"""How few training images hold all windows of an image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from small_attention import miniature

import mosaic
from mosaic.reproduction.attention.cover import cover_of


def test_how_many_images_are_enough_does_not_depend_on_ties() -> None:
    dataset = miniature()
    images = dataset.images
    left, right = images[0].clone(), images[int((dataset.labels != dataset.labels[0]).nonzero()[0])]  # type: ignore[index, union-attr]
    left[:, :, 8:] = right[:, :, 8:]
    x = torch.stack([images[3], left, torch.full_like(left, -1)])
    machine = mosaic.registry().get("score", "els")
    traced = machine(machine.Options(), dataset).attribute(x, mosaic.Level(1.0, 0.0), None, 3).source
    names = ("image", "row", "column")
    source = xr.Dataset({f"source_{name}": (("sample", "height", "width"), getattr(traced, name)) for name in names})
    assert cover_of(source, images, 3, "zeros").tolist() == [1, 2, 1]


def windows(images: np.ndarray, k: int, boundary: str) -> np.ndarray:
    """Windows (N, H, W, k^2); beyond the border they hold 9, as no pixel does, or what is on the other side."""
    pad = ((0, 0), (k // 2, k // 2), (k // 2, k // 2))
    padded = np.pad(images, pad, "wrap") if boundary == "circular" else np.pad(images, pad, constant_values=9.0)
    views = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (1, 2))
    return views.reshape(*images.shape, k * k)


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_greedy_covers_are_covers_and_nearly_the_smallest(boundary: str) -> None:
    """Against all subsets of five images; a greedy cover of so few is at most an image too large."""
    rng = np.random.default_rng(0)
    images = rng.choice([-1.0, 1.0], (5, 4, 4), p=(0.85, 0.15))  # most windows are plain, and tie
    image, row, column = (rng.integers(0, high, (20, 4, 4)) for high in (5, 4, 4))
    image[:10] %= 2  # of two images
    dims = ("sample", "height", "width")
    source = xr.Dataset({"source_image": (dims, image), "source_row": (dims, row), "source_column": (dims, column)})
    actual = cover_of(source, torch.from_numpy(images)[:, None], 3, boundary)
    every = windows(images, 3, boundary)
    held = [{window.tobytes() for window in each.reshape(-1, 9)} for each in every]
    smallest = []
    for n in range(20):
        wanted = {window.tobytes() for window in every[image[n], row[n], column[n]].reshape(-1, 9)}
        sizes = (
            size
            for size in range(1, 6)
            for chosen in itertools.combinations(held, size)
            if wanted <= set().union(*chosen)
        )
        smallest.append(next(sizes))
    assert len(set(smallest)) > 2
    assert (actual >= smallest).all()
    assert (actual <= np.array(smallest) + 1).all()
    assert (actual[:10] <= 2).all()


def test_a_training_image_is_covered_by_itself() -> None:
    images = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    rows, columns = np.indices((5, 6))
    place = {"source_image": np.full((5, 6), 2), "source_row": rows, "source_column": columns}
    source = xr.Dataset({name: (("sample", "height", "width"), values[None]) for name, values in place.items()})
    assert cover_of(source, images, 3, "zeros").tolist() == [1]
