"""Exact ties: windows have the same key if, and only if, they are equal."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import mosaic


def window(image: torch.Tensor, i: int, j: int, k: int, wraps: bool) -> tuple[Any, ...]:
    """What a window shows, and where it hangs over the border."""
    height, width = image.shape[1:]
    reach = range(-(k // 2), k // 2 + 1)
    actual: list[Any] = []
    for row, col in itertools.product((i + d for d in reach), (j + d for d in reach)):
        if wraps:
            actual.append(tuple(image[:, row % height, col % width].tolist()))
        else:
            inside = 0 <= row < height and 0 <= col < width
            actual.append(tuple(image[:, row, col].tolist()) if inside else None)
    return tuple(actual)


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("channels", "k", "dtype"), [(1, 3, torch.float32), (3, 3, torch.float64), (2, 7, torch.float32)]
)
def test_windows_that_are_equal_have_equal_keys_and_no_others(
    wraps: bool, weighted: bool, channels: int, k: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 2, (5, channels, 4, 3), generator=generator).to(dtype) - 1
    images[3] = images[0]
    images[4, 0, 0, 0] *= -0.0
    weights = 1 + torch.randint(0, 2, (5, 4, 3), generator=generator).double() if weighted else None
    keys = mosaic.window_keys(images, k, wraps, weights)
    places = list(np.ndindex(5, 4, 3))
    meaning = {}
    for n, i, j in places:
        own = window(images[n], i, j, k, wraps)
        meaning[n, i, j] = (own, None if weights is None else float(weights[n, i, j]))
    for one, other in itertools.combinations(places, 2):
        assert bool(keys[one] == keys[other]) == (meaning[one] == meaning[other])


def test_many_different_windows_have_different_keys() -> None:
    images = torch.rand(200, 1, 32, 32, generator=torch.Generator().manual_seed(0)).mul(255).round() / 127.5 - 1
    assert len(mosaic.window_keys(images, 3, wraps=True).unique()) == 200 * 32 * 32


@pytest.mark.parametrize(("score", "most"), [("els", 100), ("ls", 20)])
def test_ties_do_not_depend_on_how_the_training_set_is_cut(
    score: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = (torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.9).float()
    x = images[:3] + 0.1 * torch.randn(3, 1, 8, 8)
    machine = mosaic.registry().get("score", score)
    model = machine(machine.Options(), mosaic.DataSet("plain", images))
    whole = model.attribute(x, mosaic.Level(1.0, 0.0), None, 3).source
    monkeypatch.setattr("mosaic.engine.ties.CHUNK", 200)
    monkeypatch.setattr("mosaic.engine.ties.TABLE", 4)
    parts = model.attribute(x, mosaic.Level(1.0, 0.0), None, 3).source
    for name in ("image", "row", "column", "multiplicity"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))
    assert whole.multiplicity.max() > most


def test_ties_of_translated_images_must_be_asked_for() -> None:
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    moved = mosaic.equivariant_posterior(
        images[:1].roll((1, 2), (2, 3)), images, mosaic.Level(1.0, 0.1), compute=mosaic.Compute(diagnostics=True)
    )
    with pytest.raises(mosaic.MosaicError, match="translates=True"):
        mosaic.resolve_image_ties(moved, images, translates=False)
    assert mosaic.resolve_image_ties(moved, images, translates=True).image.item() == 0
