"""The machine whose windows, sources and temperature are chosen one by one: the machines of the paper are choices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic.engine.filtered import Move, filtered_posterior_mean
from mosaic.engine.filters import Filters

LEVEL = mosaic.Level(0.8, 0.6)
BORDERS = ("zeros", "circular", "valid")
DATA = mosaic.DataSet("random", torch.rand(5, 2, 6, 6, generator=torch.Generator().manual_seed(3)) * 2 - 1)


def made(name: str = "filtered", **options: Any) -> Any:
    given = {"window": "soft", **options} if name == "filtered" else options
    return mosaic.registry().make("score", name, given, DATA)


def noisy() -> torch.Tensor:
    noise = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return LEVEL.signal * DATA.images[:2].double() + LEVEL.noise * noise


@pytest.mark.parametrize(
    ("options", "name", "own", "scale"),
    [
        ({"window": "whole", "source": "place"}, "is", {}, 0),
        ({"window": "whole", "boundary": "circular"}, "es", {}, 0),
        *(({"window": "box", "source": "place", "boundary": at}, "ls", {"boundary": at}, 3) for at in BORDERS[:2]),
        *(({"window": "box", "boundary": at}, "els", {"boundary": at}, 3) for at in BORDERS),
        ({}, "soft-els", {"temperature": 1.0}, 2.7),
        ({"temperature": 0.85}, "soft-els", {}, 2.7),
        ({"border": 0.5, "cutoff": 2}, "soft-els", {"border": 0.5, "cutoff": 2, "temperature": 1.0}, 2.7),
        ({"border_limit": 1, "cutoff": 2}, "soft-els", {"border_limit": 1, "cutoff": 2, "temperature": 1.0}, 5),
    ],
)
def test_the_machines_are_choices(options: dict[str, Any], name: str, own: dict[str, Any], scale: float) -> None:
    chosen, machine = made(**options), made(name, **own)
    assert torch.equal(chosen.denoise(noisy(), LEVEL, None, scale), machine.denoise(noisy(), LEVEL, None, scale))
    assert chosen.comparisons(scale) == machine.traits.comparisons(scale)
    for trait in ("has_scale", "has_continuous_scale", "is_equivariant"):
        assert getattr(chosen.traits, trait) == getattr(machine.traits, trait)
    assert chosen.traits.window(scale) == machine.traits.window(scale)
    assert chosen.traits.engine(torch.float32) == machine.traits.engine(torch.float32)
    one, other = (model.attribute(noisy(), LEVEL, None, scale) for model in (chosen, machine))
    for field in ("image", "row", "column", "multiplicity"):
        assert torch.equal(getattr(one.source, field), getattr(other.source, field))


def gaussian(scale: float, radius: int) -> list[float]:
    """Profile of a soft window, by definition: the Gaussian whose area is the scale."""
    return [math.exp(-(u**2) / 2 / (scale / math.sqrt(2 * math.pi)) ** 2) for u in range(-radius, radius + 1)]


def general(scale: float, radius: int, border: int | None, temperature: float, **moved: bool) -> torch.Tensor:
    """The general machine's x0hat with soft windows of this reach; of padded images if there is a `border`."""
    channels, height, width = DATA.shape
    far = 0 if border is None else radius
    x, images = (torch.nn.functional.pad(each, (far,) * 4) for each in (noisy(), DATA.images.double()))
    k, shape = 2 * radius + 1, (channels, height + 2 * far, width + 2 * far)
    denoised = filtered_posterior_mean(
        x,
        images,
        LEVEL,
        Filters.windows(shape, k, "zeros", profile=gaussian(scale, radius)),
        moves=Move.augmented(Move.translates(height, width, k, "zeros", border=border), **moved),
        temperature=temperature,
    )
    return denoised[..., far : far + height, far : far + width]


@pytest.mark.parametrize(
    ("scale", "options", "radius", "border"),
    [
        (1.2, {}, 1, 0),
        (2.0, {}, 2, 1),
        (2.7, {}, 3, 1),
        (4, {}, 4, 2),
        (2.7, {"border": 0}, 3, 0),
        (4, {"border_limit": 1}, 4, 1),
    ],
)
def test_the_default_soft_windows_are_a_choice_of_the_general_machine(
    scale: float, options: dict[str, Any], radius: int, border: int
) -> None:
    actual = made("soft-els", **options).denoise(noisy(), LEVEL, None, scale)
    torch.testing.assert_close(actual, general(scale, radius, border, 0.85), rtol=0, atol=1e-12)
    assert float((actual - general(scale, radius, None, 0.85)).abs().max()) > 1e-3


def test_where_all_of_a_window_is_border_no_candidate_holds_zeros() -> None:
    """Of 3 pixels either way; images that are padded, and images as they are, give the same."""
    actual = made("soft-els", border=9).denoise(noisy(), LEVEL, None, 2.7)
    for border in (3, None):
        torch.testing.assert_close(actual, general(2.7, 3, border, 0.85), rtol=0, atol=1e-12)


def test_soft_windows_with_a_border_are_it_also_of_moved_images() -> None:
    actual = made(mirrored=True, turned=True, temperature=1.7).denoise(noisy(), LEVEL, None, 2.7)
    expected = general(2.7, 3, 1, 1.7, flips=True, turns=True)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", ["box", "soft"])
@pytest.mark.parametrize("source", ["everywhere", "place"])
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
@pytest.mark.parametrize(("mirrored", "turned"), [(True, False), (True, True), (False, True)])
def test_it_is_the_general_machine(window: str, source: str, boundary: str, mirrored: bool, turned: bool) -> None:
    scale, temperature = 3 if window == "box" else 2.0, 1.7
    options = {"window": window, "source": source, "boundary": boundary, "mirrored": mirrored, "turned": turned}
    if window == "soft" and boundary == "zeros" and source == "everywhere":
        options |= {"border": 9, "border_limit": 9}  # translates hold no zeros beyond the border
    model = made(**options, temperature=temperature)
    k = 3 if window == "box" else 5
    profile = None if window == "box" else gaussian(scale, 2)
    filters = Filters.windows(DATA.shape, k, boundary, profile=profile)
    moves = [Move()] if source == "place" else Move.translates(6, 6, k, boundary)
    expected = filtered_posterior_mean(
        noisy(),
        DATA.images.double(),
        LEVEL,
        filters,
        moves=Move.augmented(moves, flips=mirrored, turns=turned),
        temperature=temperature,
    )
    torch.testing.assert_close(model.denoise(noisy(), LEVEL, None, scale), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("exponent", [1.0, 4.0])
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_profiles_of_any_exponent_are_filters(exponent: float, boundary: str) -> None:
    far = {"border": 9, "border_limit": 9} if boundary == "zeros" else {}
    model, scale = made(exponent=exponent, boundary=boundary, cutoff=1.5, **far), 3.0
    width = scale / (2 * 2 ** (1 / exponent) * math.gamma(1 + 1 / exponent))
    k = 2 * round(1.5 * width) + 1
    assert model.extent(scale) == k
    profile = [math.exp(-(abs(u / width) ** exponent) / 2) for u in range(-(k // 2), k // 2 + 1)]
    expected = filtered_posterior_mean(
        noisy(),
        DATA.images.double(),
        LEVEL,
        Filters.windows(DATA.shape, k, boundary, profile=profile),
        moves=Move.translates(6, 6, k, boundary),
    )
    torch.testing.assert_close(model.denoise(noisy(), LEVEL, None, scale), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("aspect", [2.0, 0.4])
@pytest.mark.parametrize("source", ["everywhere", "place"])
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_tall_and_wide_windows_are_filters(aspect: float, source: str, boundary: str) -> None:
    far = {"border": 9, "border_limit": 9} if boundary == "zeros" and source == "everywhere" else {}
    model, scale = made(aspect=aspect, source=source, boundary=boundary, cutoff=1.0, **far), 3.0
    width = scale / (2 * math.pi) ** 0.5
    upright, across = width * aspect**0.5, width / aspect**0.5
    k = 2 * round(max(upright, across)) + 1
    assert model.extent(scale) == model.traits.window(scale) == k
    places = range(-(k // 2), k // 2 + 1)
    profile = tuple([math.exp(-(u**2) / (2 * w**2)) for u in places] for w in (upright, across))
    expected = filtered_posterior_mean(
        noisy(),
        DATA.images.double(),
        LEVEL,
        Filters.windows(DATA.shape, k, boundary, profile=profile),
        moves=[Move()] if source == "place" else Move.translates(6, 6, k, boundary),
    )
    torch.testing.assert_close(model.denoise(noisy(), LEVEL, None, scale), expected, rtol=0, atol=1e-10)


def test_turned_images_are_seen_by_tall_windows_as_the_images_are_by_wide_ones() -> None:
    turned = mosaic.DataSet("turned", torch.rot90(DATA.images, 1, (2, 3)).contiguous())
    tall = mosaic.registry().make("score", "filtered", {"window": "soft", "aspect": 2}, turned)
    seen = torch.rot90(tall.denoise(torch.rot90(noisy(), 1, (2, 3)).contiguous(), LEVEL, None, 2.5), -1, (2, 3))
    wide = made(aspect=0.5).denoise(noisy(), LEVEL, None, 2.5)
    torch.testing.assert_close(seen, wide, rtol=0, atol=1e-12)
    assert float((wide - made(aspect=2).denoise(noisy(), LEVEL, None, 2.5)).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("window", "scale", "mixture", "mixed", "sizes"),
    [
        ("box", 3, 1.5, (3, 5), (3, 5)),
        ("box", 3, 2, (1, 7), (1, 7)),
        ("soft", 2.0, 1.5, (4 / 3, 3.0), (3, 7)),
        ("box", 1, 1.4, (1,), (1,)),
    ],
)
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_a_mixture_has_two_filters_at_each_pixel(
    window: str, scale: float, mixture: float, mixed: tuple[float, ...], sizes: tuple[int, ...], boundary: str
) -> None:
    options = {"window": window, "boundary": boundary}
    if window == "soft" and boundary == "zeros":
        options |= {"border": 9, "border_limit": 9}
    model, filters, allowed = made(**options, mixture=mixture), [], []
    if window == "soft" and boundary == "circular":
        sizes = (3, 5)  # they would meet themselves
    for each, k in zip(mixed, sizes, strict=True):
        profile = None if window == "box" else gaussian(each, k // 2)
        filters.append(Filters.windows(DATA.shape, k, boundary, profile=profile))
        moves = Move.translates(6, 6, k, boundary)
        allowed.append([move.allowed for move in moves])
    responses = [torch.nn.functional.one_hot(each.responses, 36).double().T / len(mixed) for each in filters]
    expected = filtered_posterior_mean(
        noisy(),
        DATA.images.double(),
        LEVEL,
        Filters(torch.cat([each.precisions for each in filters]), torch.cat(responses)),
        moves=[Move(shift=move.shift, allowed=torch.cat(of)) for move, *of in zip(moves, *allowed, strict=True)],
    )
    torch.testing.assert_close(model.denoise(noisy(), LEVEL, None, scale), expected, rtol=0, atol=1e-10)
    assert model.comparisons(scale) == sum(made(**options).comparisons(each) for each in mixed)
    assert model.traits.window(scale) == sizes[-1]
    for name in ("held_bytes", "block_bytes"):
        one, other = (
            getattr(each, name)(2, at, torch.float32) for each, at in ((model, scale), (made(**options), mixed[-1]))
        )
        assert one == other


def test_a_mixture_attributes_nothing() -> None:
    model = made(mixture=1.5)
    assert not model.traits.has_attribution
    with pytest.raises(mosaic.UsageError):
        model.attribute(noisy(), LEVEL, None, 2.0)
    with pytest.raises(mosaic.UsageError, match=r"1\.5"):
        model.posterior(noisy(), DATA.images, LEVEL, 2.0, mosaic.Compute())
    run = mosaic.run(
        "filtered", DATA, score_options={"window": "box", "mixture": 2}, steps=2, samples=1, progress=False
    )
    assert "source_image" not in run


def test_attribution_of_moved_images_names_their_pixels() -> None:
    model = made(mirrored=True, turned=True)
    mirrored = torch.rot90(DATA.images[1:2].flip(3), 1, (2, 3))  # its best windows are those of this very image
    attribution = model.attribute(mirrored, mosaic.Level(1.0, 0.0), None, 3.0)
    assert torch.equal(attribution.denoised, mirrored)
    assert attribution.source.image.unique().tolist() == [1]
    plain = made().attribute(mirrored, mosaic.Level(1.0, 0.0), None, 3.0)
    assert not torch.equal(plain.denoised, mirrored)


def test_temperature_is_more_noise_where_candidates_compete() -> None:
    cold, hot = (made(temperature=t).denoise(noisy(), LEVEL, None, 3.0) for t in (1e-4, 1e6))
    mean = made().denoise(noisy(), mosaic.Level(0.8, 1e5), None, 3.0)
    assert torch.allclose(hot, mean, atol=1e-3)
    nearest = made().attribute(noisy(), LEVEL, None, 3.0).source
    centres = DATA.images[nearest.image, :, nearest.row, nearest.column].movedim(-1, 1)
    assert torch.allclose(cold, centres.double(), atol=1e-3)


@pytest.mark.parametrize(("border", "limit"), [(0.0, 5), (0.9, 5), (10.0, 1)])
def test_boxes_with_a_border_hold_zeros_beyond_it(border: float, limit: int) -> None:
    """By loops over pixels: near the border only those just as near are candidates, elsewhere all that are not near."""
    k, side, near = 5, 6, min(round(border * 5 / math.sqrt(2 * math.pi)), limit, 2)
    wide = torch.nn.functional.pad(torch.cat([noisy(), DATA.images.double()]), (2, 2, 2, 2)).numpy()
    x, images = wide[:2], LEVEL.signal * wide[2:]

    def kind(place: int) -> int:
        return place if place < near or place >= side - near else -1

    expected = np.empty((2, 2, side, side))
    for b, i, j in np.ndindex(2, side, side):
        logits, centres = [], []
        for image, row, column in np.ndindex(len(images), side, side):
            if (kind(row), kind(column)) == (kind(i), kind(j)):
                difference = x[b, :, i : i + k, j : j + k] - images[image, :, row : row + k, column : column + k]
                logits.append(-(difference**2).sum() / (2 * LEVEL.noise**2))
                centres.append(wide[2 + image, :, row + 2, column + 2])
        weights = np.exp(np.array(logits) - max(logits))
        expected[b, :, i, j] = (weights[:, None] * centres).sum(0) / weights.sum()
    actual = made(window="box", border=border, border_limit=limit).denoise(noisy(), LEVEL, None, k)
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"window": "box", "cutoff": 2},
        {"window": "whole", "source": "place", "border": 2},
        {"window": "box", "border_limit": 2},
        {"window": "box", "exponent": 4},
        {"exponent": 0.4},
        {"window": "box", "aspect": 2},
        {"aspect": 6},
        {"window": "whole", "source": "place", "mixture": 2},
        {"mixture": 0.9},
        {"window": "whole", "source": "place", "engine": "torch"},
        {"window": "whole"},
        {"window": "whole", "source": "place", "boundary": "circular"},
        {"source": "place", "boundary": "valid"},
        {"source": "place", "border": 2},
        {"temperature": 0},
    ],
)
def test_options_that_would_not_be_used_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError):
        made(**options)


def test_what_the_data_cannot_do_is_refused() -> None:
    wide = mosaic.DataSet("wide", torch.zeros(2, 1, 4, 5))
    with pytest.raises(mosaic.UsageError, match="4 x 5"):
        mosaic.registry().make("score", "filtered", {"window": "box", "turned": True}, wide).check((LEVEL,), (3,), ())
    with pytest.raises(mosaic.UsageError, match=r"2\.5"):
        made(window="box").denoise(noisy(), LEVEL, None, 2.5)
    for scale in (4, math.nan):
        with pytest.raises(mosaic.UsageError, match=str(scale)):
            made(window="box", mixture=2).denoise(noisy(), LEVEL, None, scale)
    with pytest.raises(mosaic.UsageError, match="7"):  # 5 x 1.5
        made(window="box", mixture=1.5, boundary="valid").denoise(noisy(), LEVEL, None, 5)


def test_whole_images_in_several_orientations_run_without_attribution() -> None:
    options = {"window": "whole", "source": "place", "mirrored": True}
    run = mosaic.run("filtered", DATA, score_options=options, steps=2, samples=1, progress=False)
    assert "source_image" not in run
    both = mosaic.DataSet("both", torch.cat([DATA.images, DATA.images.flip(3)]))
    ideal = mosaic.registry().make("score", "is", {}, both).denoise(noisy(), LEVEL)
    torch.testing.assert_close(made(**options).denoise(noisy(), LEVEL), ideal, rtol=0, atol=1e-12)
    with pytest.raises(mosaic.UsageError):
        made(**options).attribute(noisy(), LEVEL)


def test_orientations_take_the_memory_of_the_images_of_one() -> None:
    alone, both = (made(mirrored=mirrored).traits.memory(1, 3.0, torch.float32, (-1,)) for mirrored in (False, True))
    assert both.held - alone.held >= DATA.images.numel() * 4
    assert both.block == alone.block
