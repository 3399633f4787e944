"""Soft ELS: what its scale, cut-off and border mean, and its limits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import mosaic
from mosaic_plugins.soft_windows import profile_area, soft_profile

AREA = math.sqrt(2 * math.pi)  # of a Gaussian of width 1
LEVEL = mosaic.Level(0.8, 0.6)


def made(dataset: mosaic.DataSet, name: str = "soft-els", **options: Any) -> Any:
    """Make a machine, a soft one at temperature 1 if no other is given, as hard ones have."""
    if name == "soft-els":
        options = {"temperature": 1.0, **options}
    return mosaic.registry().make("score", name, options, dataset)


def images(count: int = 12, side: int = 9) -> mosaic.DataSet:
    pixels = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return mosaic.DataSet("random", pixels)


def noisy(dataset: mosaic.DataSet, count: int = 2) -> torch.Tensor:
    noise = torch.randn(count, *dataset.shape, generator=torch.Generator().manual_seed(4))
    return LEVEL.signal * dataset.images[:count] + LEVEL.noise * noise


@pytest.mark.parametrize("exponent", [0.5, 1, 2, 3.5, 16])
def test_a_scale_is_what_its_windows_count_in_all(exponent: float) -> None:
    for scale in (3, 4.5, 9):
        fine = 50  # pixels for one, so that the sum is an integral
        width = scale / profile_area(exponent)
        total = sum(soft_profile(width * fine, round(99 * scale) * fine // 5, exponent)) / fine
        assert total == pytest.approx(scale, rel=1e-2 if exponent < 1 else 1e-4)


def test_profiles_are_from_peaks_to_boxes() -> None:
    assert profile_area() == AREA
    for exponent in (0.5, 1.0, 2.0, 4.0):
        expected = [math.exp(-(abs(u / 1.7) ** exponent) / 2) for u in range(-6, 7)]
        assert soft_profile(1.7, 6, exponent) == pytest.approx(expected, rel=1e-14)
    assert soft_profile(4.5, 6, 200) == pytest.approx([0, 0, *[1] * 9, 0, 0], abs=1e-6)
    assert min(soft_profile(1e-300, 3, 16)) > 0


def test_windows_are_cut_off_at_widths() -> None:
    data = images(side=30)
    assert made(data, cutoff=3).extent(AREA * 2) == 13  # w = 2: 6 pixels either way
    assert made(data, cutoff=2).extent(AREA * 2) == 9
    assert made(data).extent(0.01) == 3
    assert made(data).extent(1000) == 59  # all of the image from any place
    assert made(data, boundary="circular").extent(1000) == 29
    assert made(data, boundary="valid").extent(1000) == 29


@pytest.mark.parametrize("scale", [0.2, 0.01, 1e-300])
def test_narrow_windows_are_hard_ones_of_a_pixel(scale: float) -> None:
    data = images()
    x = noisy(data)
    soft = made(data, boundary="circular").denoise(x, LEVEL, None, scale)
    hard = made(data, "els", boundary="circular").denoise(x, LEVEL, None, 1)
    assert torch.allclose(soft, hard, atol=1e-5)


@pytest.mark.parametrize("boundary", ["circular", "valid"])
def test_wide_windows_are_hard_ones_of_the_image(boundary: str) -> None:
    data = images()
    x = noisy(data)
    soft = made(data, boundary=boundary).denoise(x, LEVEL, None, 9999)
    hard = made(data, "els", boundary=boundary).denoise(x, LEVEL, None, 9)
    assert torch.allclose(soft, hard, atol=1e-4)


def test_wide_windows_that_hang_over_are_the_ideal_machine() -> None:
    data = images()
    x = noisy(data)
    ideal = made(data, "is").denoise(x, LEVEL)
    assert torch.allclose(made(data).denoise(x, LEVEL, None, 9999), ideal, atol=1e-4)


def test_without_a_border_every_translate_is_a_candidate() -> None:
    data = images()
    x, noise = noisy(data), mosaic.Level(0.8, 1e5)
    everywhere = made(data, border=0).denoise(x, noise, None, 5)
    assert torch.allclose(everywhere, data.images.mean().expand_as(x), atol=1e-4)
    assert not torch.allclose(made(data).denoise(x, noise, None, 5), everywhere, atol=1e-2)


def test_the_border_grows_with_the_windows_up_to_its_limit() -> None:
    data = images(side=30)
    assert [made(data).border(AREA * w) for w in (1, 2, 4, 6, 9)] == [1, 2, 4, 5, 5]
    assert [made(data, border_limit=20).border(AREA * w) for w in (1, 2, 4, 6, 9)] == [1, 2, 4, 6, 9]
    assert made(data, border=2.5, border_limit=20).border(AREA * 6) == made(data).extent(AREA * 6) // 2
    assert made(data, boundary="circular").border(AREA * 2) is None


def test_x0hat_is_continuous_in_the_scale_but_where_the_cut_off_moves() -> None:
    data = images()
    x, soft = noisy(data), made(data)
    before, after = soft.denoise(x, LEVEL, None, 4.0), soft.denoise(x, LEVEL, None, 4.001)
    assert 0 < float((before - after).abs().max()) < 2e-3


def test_it_is_the_posterior_of_the_engine_with_a_gaussian_profile() -> None:
    data, scale = images(), 4.0
    x, width = noisy(data), scale / math.sqrt(2 * math.pi)
    for options, border in (({}, 2), ({"border": 0.5}, 1), ({"cutoff": 2.0, "border": 9}, 3), ({"border_limit": 1}, 1)):
        k = 2 * round(options.get("cutoff", 2.5) * width) + 1
        profile = [math.exp(-((u - k // 2) ** 2) / 2 / width**2) for u in range(k)]
        expected = mosaic.equivariant_local_posterior(x, data.images, LEVEL, k, profile=profile, border=border).mean()
        assert torch.equal(made(data, **options).denoise(x, LEVEL, None, scale), expected.float())


def test_its_temperature_is_that_of_the_noise_where_candidates_compete() -> None:
    data = images()
    x, cooler = noisy(data), mosaic.Level(LEVEL.signal, LEVEL.noise * math.sqrt(0.5))
    expected = made(data).denoise(x, cooler, None, 4.0)
    assert torch.equal(made(data, temperature=0.5).denoise(x, LEVEL, None, 4.0), expected)
    default = mosaic.registry().make("score", "soft-els", {}, data)
    assert 0 < default.options.temperature < 1
    assert not torch.equal(default.denoise(x, LEVEL, None, 4.0), made(data).denoise(x, LEVEL, None, 4.0))


def test_comparisons_are_those_of_its_windows() -> None:
    data = images(count=2)
    assert made(data, cutoff=1).comparisons(AREA * 2) == 2 * (5 * 5 + 4) ** 2  # 2 pixels either way
    assert made(data, cutoff=1, border=0).comparisons(AREA * 2) == 2 * 81**2
    assert made(data, boundary="circular").comparisons(3) == 2 * 81**2


def test_attribution_names_the_nearest_windows() -> None:
    data = images()
    x, soft = data.images[:3].clone(), made(data)
    attribution = soft.attribute(x, mosaic.Level(1.0, 0.0), None, 3.5)
    assert torch.equal(attribution.denoised, x)
    assert torch.equal(attribution.source.image, torch.arange(3)[:, None, None].expand(3, 9, 9))


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({}, 0),
        ({}, -2.5),
        ({}, math.nan),
        ({"boundary": "circular", "border": 2}, 3),
        ({"boundary": "valid", "border_limit": 2}, 3),
    ],
)
def test_what_cannot_be_used_is_refused(options: dict[str, Any], scale: float) -> None:
    data = images()
    with pytest.raises(mosaic.UsageError):
        made(data, **options).denoise(noisy(data), LEVEL, None, scale)
    with pytest.raises(mosaic.UsageError):
        mosaic.score("soft-els", data, **options).posterior(noisy(data), level=LEVEL, k=scale)


def test_a_run_interpolates_the_scales_of_another_schedule() -> None:
    data = images()
    table = mosaic.ScaleSchedule((2.5, 5.0), (0.1, 10.0))
    run = mosaic.run("soft-els", data, steps=4, samples=1, scales=table, progress=False)
    ratios = (run["noise"] / run["signal"]).values
    expected = [2.5 * 2 ** min(1, max(0, math.log(ratio / 0.1) / math.log(100))) for ratio in ratios]
    assert run["scale"].values.tolist() == pytest.approx(expected)
    assert len(set(expected)) > 2
