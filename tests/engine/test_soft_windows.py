"""Windows whose pixels count by a profile, and borders that are narrower than windows reach: against loops in numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic.engine.windows import profiles_of, window_axis

A, H, W = 0.9, 8, 6


def soft_posterior_mean(
    x: np.ndarray, images: np.ndarray, level: mosaic.Level, k: int, boundary: str, weights: np.ndarray, border: int
) -> np.ndarray:
    """x0hat (B, C, H, W), pixel by pixel, over every window of `images` that may be compared with the pixel's."""
    result = np.empty_like(x)
    for i, j in np.ndindex(H, W):
        query, logits, centres = window(x, i, j, k, boundary != "zeros"), [], []
        for p, q in candidates(i, j, k, boundary, border):
            keys = level.signal * window(images, p, q, k, boundary == "circular")
            squares = (query[:, None] - keys[None]) ** 2 * weights
            logits.append(-squares.sum((2, 3, 4)) / (2 * level.noise**2))
            centres.append(images[:, :, p, q])
        scores, values = np.concatenate(logits, axis=1), np.concatenate(centres)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        result[:, :, i, j] = shares / shares.sum(1, keepdims=True) @ values
    return result


def window(images: np.ndarray, i: int, j: int, k: int, wraps: bool) -> np.ndarray:
    """Windows (n, C, k, k) about a pixel; zeros beyond the border unless they wrap."""
    r = k // 2
    if wraps:
        rows, cols = (np.arange(c - r, c + r + 1) % size for c, size in ((i, H), (j, W)))
        return images[:, :, rows][:, :, :, cols]
    return np.pad(images, ((0, 0), (0, 0), (r, r), (r, r)))[:, :, i : i + k, j : j + k]


def candidates(i: int, j: int, k: int, boundary: str, border: int) -> Iterator[tuple[int, int]]:
    """Places of the windows that are compared with that about (i, j)."""
    r = k // 2
    for p, q in np.ndindex(H, W):
        if (
            boundary == "circular"
            or (boundary == "valid" and r <= p < H - r and r <= q < W - r)
            or (
                boundary == "zeros"
                and kind(p, H, border) == kind(i, H, border)
                and kind(q, W, border) == kind(j, W, border)
            )
        ):
            yield p, q


def kind(place: int, size: int, border: int) -> int | None:
    """A pixel's own place where it is near the border; None for all others."""
    return place if place < border or place >= size - border else None


def problem(channels: int, noise: float) -> tuple[np.ndarray, np.ndarray, mosaic.Level]:
    """x (2, C, H, W), images (15, C, H, W) of which two are alike, and their level."""
    random = np.random.default_rng(channels)
    images = random.uniform(-1, 1, (15, channels, H, W)).astype(np.float32)
    images[9] = images[4]
    x = (A * images[:2] + noise * random.standard_normal((2, channels, H, W))).astype(np.float32)
    return x, images, mosaic.Level(A, noise)


def gaussian(k: int, width: float) -> list[float]:
    return [math.exp(-((u - k // 2) ** 2) / (2 * width**2)) for u in range(k)]


BOUNDARIES = [("zeros", 5, 2), ("zeros", 5, 1), ("zeros", 5, 0), ("zeros", 13, 2), ("circular", 5, 0), ("valid", 5, 0)]


@pytest.mark.parametrize(("boundary", "k", "border"), BOUNDARIES)
@pytest.mark.parametrize(("channels", "noise"), [(1, 0.4), (3, 0.6), (4, 0.6)])
@pytest.mark.parametrize(
    ("engine", "dtype", "tolerance"),
    [
        ("compiled", "float32", 2e-6),
        ("torch", "float32", 1e-5),
        ("torch", "float64", 1e-11),
        ("reference", "float64", 1e-11),
    ],
)
@pytest.mark.parametrize("is_pair", [False, True])
def test_every_engine_weighs_the_pixels_of_windows(
    boundary: str,
    k: int,
    border: int,
    channels: int,
    noise: float,
    engine: str,
    dtype: str,
    tolerance: float,
    is_pair: bool,
) -> None:
    x, images, level = problem(channels, noise)
    profiles = skew_profiles(k, is_pair)
    expected = expected_mean(boundary, k, border, channels, noise, is_pair)
    given = [torch.from_numpy(array.astype(dtype)) for array in (x, images)]
    for diagnostics in (False, True):
        posterior = mosaic.equivariant_local_posterior(
            *given,
            level,
            k,
            boundary,
            profile=profiles if is_pair else profiles[0],
            border=border if boundary == "zeros" else None,
            compute=mosaic.Compute(engine, diagnostics),
        )
        assert np.abs(posterior.mean().numpy() - expected).max() < tolerance


def skew_profiles(k: int, is_pair: bool) -> tuple[list[float], list[float]]:
    """Profiles of rows and columns that are not symmetric; one for both unless they are a pair."""
    profile, other = gaussian(k, 1.3), gaussian(k, 0.8)
    profile[0] *= 0.5
    other[-1] *= 1.5
    return profile, other if is_pair else profile


@cache  # it is the same for every engine
def expected_mean(boundary: str, k: int, border: int, channels: int, noise: float, is_pair: bool) -> np.ndarray:
    """x0hat with skew profiles; it is another with other weights, so that the tests can fail."""
    x, images, level = problem(channels, noise)
    weights = np.outer(*skew_profiles(k, is_pair))
    expected = soft_posterior_mean(x.astype(float), images.astype(float), level, k, boundary, weights, border)
    for others in (np.ones((k, k)), *([weights.T] if is_pair else [])):
        assert np.abs(expected - soft_posterior_mean(x, images, level, k, boundary, others, border)).max() > 1e-3
    return expected


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
@pytest.mark.parametrize("engine", ["compiled", "torch", "reference"])
def test_soft_windows_at_their_own_place(boundary: str, engine: str) -> None:
    x, images, level = problem(1, 0.3)
    profiles = gaussian(5, 1.0), gaussian(5, 2.0)
    expected, weights = np.empty_like(x, float), np.outer(*profiles)
    for i, j in np.ndindex(H, W):
        wraps = boundary == "circular"
        query, keys = window(x.astype(float), i, j, 5, wraps), A * window(images.astype(float), i, j, 5, wraps)
        logits = -((query[:, None] - keys) ** 2 * weights).sum((2, 3, 4)) / (2 * level.noise**2)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        expected[:, :, i, j] = shares / shares.sum(1, keepdims=True) @ images[:, :, i, j]
    posterior = mosaic.local_posterior(
        torch.from_numpy(x), torch.from_numpy(images), level, 5, boundary, profile=profiles,
        compute=mosaic.Compute(engine),
    )  # fmt: skip
    assert np.abs(posterior.mean().numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("engine", ["compiled", "torch", "reference"])
def test_a_profile_of_ones_is_a_hard_window(engine: str) -> None:
    x, images, level = problem(3, 0.3)
    given, how = [torch.from_numpy(x), torch.from_numpy(images), level, 5], mosaic.Compute(engine, diagnostics=True)
    hard = mosaic.equivariant_local_posterior(*given, compute=how)
    soft = mosaic.equivariant_local_posterior(*given, profile=[1.0] * 5, border=2, compute=how)
    for one, other in zip(hard.parts().values(), soft.parts().values(), strict=True):
        # The corners of torch's hard windows are summed in another order.
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5) if engine == "torch" else torch.equal(one, other)


def test_the_best_window_is_the_nearest_by_the_profile() -> None:
    x, images, level = problem(1, 0.2)
    profile = gaussian(5, 0.9)
    sources = [
        mosaic.equivariant_local_posterior(
            torch.from_numpy(x),
            torch.from_numpy(images),
            level,
            5,
            profile=profile,
            compute=mosaic.Compute(engine, True),
        ).source
        for engine in ("compiled", "reference")
    ]
    assert sources[0] is not None
    assert sources[1] is not None
    image, place = sources[0] // (H * W), sources[0] % (H * W)
    own = np.where(image == 9, 4, image)  # alike
    for n, i, j in np.ndindex(2, H, W):
        p, q = divmod(int(place[n, i, j]), W)
        nearest = {
            (m, *at): (
                np.outer(profile, profile) * (window(x, i, j, 5, False)[n] - A * window(images, *at, 5, False)[m]) ** 2
            ).sum()
            for at in candidates(i, j, 5, "zeros", 2)
            for m in range(len(images))
        }
        assert nearest[own[n, i, j], p, q] == pytest.approx(min(nearest.values()), rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [{"profile": [1.0, 1.0]}, {"profile": [1.0, -1.0, 1.0]}, {"profile": [1.0, math.nan, 1.0]}, {"profile": [0.0] * 3}],
)
def test_profiles_that_weigh_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError, match="3 weights"):
        window_axis(9, 3, "zeros", **settings)


def test_profiles_are_one_or_a_pair() -> None:
    assert profiles_of(None) == (None, None)
    assert profiles_of([1.0, 2.0, 1.0]) == ([1.0, 2.0, 1.0], [1.0, 2.0, 1.0])
    assert profiles_of(([1.0], (2.0,))) == ([1.0], (2.0,))
    with pytest.raises(mosaic.UsageError, match="3 of them"):
        profiles_of([[1.0]] * 3)  # type: ignore[arg-type]
    x, images, level = problem(1, 0.3)
    given = torch.from_numpy(x), torch.from_numpy(images), level, 3
    with pytest.raises(mosaic.UsageError, match="3 weights"):
        mosaic.local_posterior(*given, profile=([1.0] * 3, [1.0] * 5))
    same = [
        mosaic.equivariant_local_posterior(*given, profile=each).mean() for each in ([0.3, 1, 0.7], [[0.3, 1, 0.7]] * 2)
    ]
    assert torch.equal(*same)


def test_without_a_border_all_pixels_are_one_band() -> None:
    axis = window_axis(7, 5, "zeros", border=0)
    assert [len(band.pixels) for band in axis.bands] == [7]
    assert axis.pairs == 49
    assert axis.frame == (-1, -1, 0, 1, 2, 3, 4, 5, 6, -1, -1)
    assert window_axis(7, 5, "zeros", border=1).pairs == 25 + 2
    assert window_axis(7, 5, "zeros").pairs == 9 + 4
