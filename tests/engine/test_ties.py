"""Exact ties: windows have the same key if, and only if, they are equal, and the first of equal ones is named."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from analytic_machines import ATTRIBUTED, build, two_valued_images

import mosaic

K, LEVEL = 3, mosaic.Level(0.8, 0.6)


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
    for first, second in itertools.combinations(places, 2):
        assert bool(keys[first] == keys[second]) == (meaning[first] == meaning[second])


@pytest.mark.parametrize(("k", "border"), [(3, 0), (5, 1), (5, 2), (5, 9)])
def test_windows_that_hold_zeros_beyond_a_narrow_border_equal_others_that_do(k: int, border: int) -> None:
    images = torch.randint(-1, 2, (4, 1, 5, 4), generator=torch.Generator().manual_seed(3)).float() * 0.5
    images[2:] = 0
    keys = mosaic.window_keys(images, k, wraps=False, border=border)
    meaning = {}
    for n, i, j in np.ndindex(4, 5, 4):
        own = window(images[n], i, j, k, wraps=False)
        kind = [place if place < border or place >= size - border else None for place, size in ((i, 5), (j, 4))]
        if border >= k // 2:
            meaning[n, i, j] = own, None
        else:
            meaning[n, i, j] = tuple((0.0,) if pixel is None else pixel for pixel in own), tuple(kind)
    for first, second in itertools.combinations(meaning, 2):
        assert bool(keys[first] == keys[second]) == (meaning[first] == meaning[second])


def test_blank_windows_of_a_narrow_border_are_all_counted() -> None:
    blank = mosaic.DataSet("blank", torch.zeros(2, 1, 8, 8))
    soft = mosaic.registry().make("score", "soft-els", {"border": 1}, blank)
    attribution = soft.attribute(torch.zeros(1, 1, 8, 8), mosaic.Level(1.0, 0.5), None, 2.6)  # w = 1.04
    assert attribution.source.multiplicity[0, 3, 3] == 2 * 36
    assert attribution.source.multiplicity[0, 0, 3] == 2 * 6
    assert torch.allclose(attribution.weight[0, 3, 3], torch.tensor(1 / 72, dtype=torch.float64))


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


def assert_explained(
    actual: mosaic.Attribution, machine: str, boundary: str | None, x: Any, images: Any, exact: float
) -> None:
    """Hold one sample's attribution equal to brute force wherever `exact` does not leave the best candidate open."""
    compared = 0
    for pixel in oracle.pixels(machine, boundary, x, images, LEVEL.signal, K):
        place = (0, pixel.row, pixel.column)
        weights, logits = pixel.weights(LEVEL.noise), pixel.logits(LEVEL.noise)
        entropy = -(weights[weights > 0] * np.log(weights[weights > 0])).sum()
        assert float(actual.entropy[place]) == pytest.approx(entropy, abs=max(exact, 1e-9))
        assert float(actual.weight[place]) == pytest.approx(weights.max(), rel=10 * max(exact, 1e-9))
        best = int(logits.argmax())
        equal = (pixel.patches == pixel.patches[best]).all(1)
        if (logits[best] - logits[~equal] <= exact).any():
            continue
        compared += 1
        source = tuple(int(value[place]) for value in (actual.source.image, actual.source.row, actual.source.column))
        assert int(actual.source.multiplicity[place]) == equal.sum()
        assert source in [pixel.places[n] for n in np.flatnonzero(equal)]
        if machine != "es":  # whose order is that of the first pixel's sources
            assert source == pixel.places[int(np.flatnonzero(equal)[0])]
    assert compared >= 20


@ATTRIBUTED
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_sources_ties_weights_and_entropy_by_brute_force(
    machine: str, boundary: str | None, engine: str, channels: int, seed: int
) -> None:
    images = two_valued_images(seed, channels)
    x = LEVEL.signal * images[3:4] + LEVEL.noise * torch.randn(1, channels, 6, 5, dtype=torch.float64)
    dtype = torch.float32 if engine == "compiled" else torch.float64
    model = build(machine, boundary, images.to(dtype), engine=engine)
    actual = model.attribute(x.to(dtype), LEVEL, None, K)
    assert actual is not None
    assert_explained(
        actual,
        machine,
        boundary,
        x[0].to(dtype).double().numpy(),
        images.numpy(),
        2e-4 if engine == "compiled" else 1e-9,
    )
    denoised = model.denoise(x.to(dtype), LEVEL, None, K)
    torch.testing.assert_close(actual.denoised, denoised, rtol=0, atol=1e-6 if engine == "compiled" else 1e-12)


@ATTRIBUTED
@pytest.mark.parametrize("labels", [None, [0, 1]])
def test_final_images_are_traced_to_the_nearest_candidates(
    machine: str, boundary: str | None, engine: str, labels: list[int] | None
) -> None:
    """Theorem 4.1: what a pixel is at the end of the flow; by brute force, among images of the sample's class."""
    images = two_valued_images(5)
    classes = torch.tensor([0, 1, 0, 1, 1, 0])
    dtype = torch.float32 if engine == "compiled" else torch.float64
    model = build(machine, boundary, images.to(dtype), classes, engine)
    finals = images[[3, 0]] + 0.3 * torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0)).double()
    given = None if labels is None else torch.tensor(labels)
    actual = model.attribute(finals.to(dtype), mosaic.Level(1.0, 0.0), given, K).source
    assert actual is not None
    for sample, final in enumerate(finals):
        allowed = torch.arange(6) if labels is None else torch.nonzero(classes == labels[sample])[:, 0]
        for pixel in oracle.pixels(machine, boundary, final.numpy(), images[allowed].numpy(), 1.0, K):
            squares = (pixel.differences**2).sum(1)
            best = int(squares.argmin())
            equal = (pixel.patches == pixel.patches[best]).all(1)
            if (squares[~equal] - squares[best] < 1e-4).any():
                continue
            place = (sample, pixel.row, pixel.column)
            image, *rest = (int(value[place]) for value in (actual.image, actual.row, actual.column))
            sources = [(int(allowed[n]), i, j) for n, i, j in (pixel.places[m] for m in np.flatnonzero(equal))]
            assert (image, *rest) == sources[0] if machine != "es" else (image, *rest) in sources
            assert int(actual.multiplicity[place]) == len(sources)
