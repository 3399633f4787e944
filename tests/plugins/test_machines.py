"""The analytic machines against a brute-force oracle, their limits, their symmetries and their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from analytic_machines import LOCAL, MACHINES, build, denoise, uniform
from drawn_cases import Case, cases, modest
from hypothesis import given

import mosaic

RELEASED: list[tuple[str, str | None, int]] = [
    ("is", None, 3),
    *(
        (machine, boundary, k)
        for machine, boundary in (("els", "zeros"), ("els", "valid"), ("ls", "zeros"))
        for k in (3, 7)
    ),
]
SHIFTS = [(1, 0), (0, 1), (3, 2), (-1, 4)]


@MACHINES
def test_machine_equals_the_oracle_in_float64(machine: str, boundary: str | None) -> None:
    """To 1e-10; off the data, plus what float64 cannot tell: see `oracle.rounding`."""
    unit = 2.0**-53

    @modest
    @given(cases(machine, boundary))
    def check(case: Case) -> None:
        result = denoise(machine, boundary, case.x, case.images, case.level, case.k, case.labels, case.wanted)
        for sample, x in enumerate(case.x):
            images = case.images_for(sample)
            exact = oracle.denoise(machine, boundary, x, images, *case.level, case.k)
            allowed = np.full_like(exact, 1e-10)
            if not case.on_data:
                allowed += oracle.rounding(
                    machine, boundary, x, images, case.level, case.k, 4 * unit, 2 * x.size * unit
                )
            assert (np.abs(result[sample] - exact) <= allowed).all()

    check()


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("machine", "boundary", "k"), RELEASED)
def test_machines_agree_with_the_numbers_of_the_released_code(
    published: Mapping[str, Any], machine: str, boundary: str | None, k: int, t: float
) -> None:
    """In float32, as there; its equivariant machine without borders is `valid`."""
    wanted = published[f"kamb_{machine}_{boundary}_k{k}_t{t}_x0hat" if boundary else f"kamb_{machine}_t{t}_x0hat"]
    images, x = (published["images_uint8"] / 127.5 - 1).astype(np.float32), published[f"kamb_t{t}_x"]
    result = denoise(machine, boundary, x, images, published[f"kamb_t{t}_level"].tolist(), k)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("machine", "boundary"), [("is", None), ("ls", "circular"), ("els", "circular")])
def test_two_constant_images_give_a_hyperbolic_tangent_of_the_window_sum(machine: str, boundary: str | None) -> None:
    # |x - a|^2 - |x + a|^2 = -4 a sum(x), so x0hat = tanh(a sum(x over the window) / s^2).
    x = np.random.default_rng(0).standard_normal((2, 1, 6, 8))
    images = np.ones((2, 1, 6, 8)) * np.array([-1.0, 1.0]).reshape(2, 1, 1, 1)
    offsets = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    local = sum(np.roll(x, shift, axis=(2, 3)) for shift in offsets)
    total = x.sum(axis=(2, 3), keepdims=True) + np.zeros_like(x) if machine == "is" else local
    result = denoise(machine, boundary, x, images, (0.6, 2.0), 3)
    np.testing.assert_allclose(result, np.tanh(0.6 * total / 4.0), rtol=0, atol=1e-12)


# Limits


@MACHINES
def test_infinite_noise_gives_the_mean_of_the_candidates(machine: str, boundary: str | None) -> None:
    images = uniform(0, 4, 2, 5, 6)
    mean = oracle.mean(machine, boundary, images, 3)
    for level in ((1.0, 1e9), (1e-9, 1.0)):
        x = level[1] * np.random.default_rng(1).standard_normal((2, 2, 5, 6))
        result = denoise(machine, boundary, x, images, level, 3)
        np.testing.assert_allclose(result, np.stack([mean, mean]), rtol=0, atol=1e-6)


@MACHINES
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_vanishing_noise_gives_the_centre_of_the_nearest_candidate(
    machine: str, boundary: str | None, precision: type
) -> None:
    x, images = uniform(0, 2, 2, 5, 6).astype(precision), uniform(1, 4, 2, 5, 6).astype(precision)
    result = denoise(machine, boundary, x, images, (0.9, 1e-5), 3)
    for sample in range(2):
        own, pictures = x[sample].astype(np.float64), images.astype(np.float64)
        centre, lead = oracle.nearest(machine, boundary, own, pictures, 0.9, 3)
        clear = lead > 1e-4  # in squared distance, against 2 s^2 = 2e-10
        assert clear.mean() > 0.9
        np.testing.assert_allclose(result[sample][:, clear], centre[:, clear], rtol=0, atol=1e-6)


@MACHINES
def test_only_the_ratios_to_the_signal_count(machine: str, boundary: str | None) -> None:
    x, images = uniform(0, 2, 1, 4, 5), uniform(1, 3, 1, 4, 5)
    unscaled = denoise(machine, boundary, x, images, (1.0, 0.5), 3)
    scaled = denoise(machine, boundary, 0.2 * x, images, (0.2, 0.1), 3)
    np.testing.assert_allclose(scaled, unscaled, rtol=0, atol=1e-12)


# Symmetries


@pytest.mark.parametrize(
    ("machine", "boundary", "commutes"),
    [
        ("es", None, True),
        ("els", "circular", True),
        ("els", "valid", True),
        ("els", "zeros", False),
        ("ls", "circular", False),
        ("ls", "zeros", False),
        ("is", None, False),
    ],
)
def test_which_machines_commute_with_circular_shifts_of_x(machine: str, boundary: str | None, commutes: bool) -> None:
    x, images, level = uniform(0, 1, 2, 5, 6), uniform(1, 4, 2, 5, 6), (0.8, 0.6)
    still = denoise(machine, boundary, x, images, level, 3)
    for shift in SHIFTS:
        moved = denoise(machine, boundary, np.roll(x, shift, axis=(2, 3)), images, level, 3)
        gap = np.abs(moved - np.roll(still, shift, axis=(2, 3))).max()
        assert gap < 1e-12 if commutes else gap > 1e-2


@pytest.mark.parametrize(("machine", "boundary"), [("es", None), ("els", "circular")])
def test_equivariant_machines_do_not_see_circular_shifts_of_the_training_images(
    machine: str, boundary: str | None
) -> None:
    x, images, level = uniform(0, 1, 1, 5, 6), uniform(1, 3, 1, 5, 6), (0.8, 0.6)
    moved = np.stack([np.roll(image, shift, axis=(1, 2)) for image, shift in zip(images, SHIFTS, strict=False)])
    np.testing.assert_allclose(
        denoise(machine, boundary, x, moved, level, 3),
        denoise(machine, boundary, x, images, level, 3),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize(("machine", "boundary"), [("is", None), ("ls", "circular")])
def test_local_machines_commute_with_one_shift_of_x_and_training_images(machine: str, boundary: str | None) -> None:
    x, images, level = uniform(0, 1, 1, 5, 6), uniform(1, 3, 1, 5, 6), (0.8, 0.6)
    still = denoise(machine, boundary, x, images, level, 3)
    for shift in SHIFTS:
        both = [np.roll(array, shift, axis=(2, 3)) for array in (x, images)]
        moved = denoise(machine, boundary, *both, level, 3)
        np.testing.assert_allclose(moved, np.roll(still, shift, axis=(2, 3)), rtol=0, atol=1e-12)


@MACHINES
@pytest.mark.parametrize("flip", [(2,), (3,), (2, 3)])
def test_machines_commute_with_one_reflection_of_x_and_training_images(
    machine: str, boundary: str | None, flip: tuple[int, ...]
) -> None:
    x, images, level = uniform(0, 1, 2, 5, 6), uniform(1, 3, 2, 5, 6), (0.8, 0.6)
    mirrored = denoise(machine, boundary, np.flip(x, flip).copy(), np.flip(images, flip).copy(), level, 3)
    still = denoise(machine, boundary, x, images, level, 3)
    np.testing.assert_allclose(mirrored, np.flip(still, flip), rtol=0, atol=1e-12)


# Options


def test_only_the_local_machines_have_a_scale_and_a_boundary() -> None:
    boundaries = {
        "is": set(),
        "es": set(),
        "ls": {"zeros", "circular"},
        "els": {"zeros", "circular", "valid"},
    }
    for machine, known in boundaries.items():
        cls = mosaic.registry().get("score", machine)
        assert cls(None, mosaic.DataSet("t", torch.zeros(1, 1, 4, 4))).traits.has_scale == bool(known)
        for boundary in ("zeros", "circular", "valid", "reflect"):
            if boundary in known:
                assert cls.Options.parse({"boundary": boundary}, machine).boundary == boundary
            else:
                with pytest.raises(mosaic.UsageError, match="boundary"):
                    cls.Options.parse({"boundary": boundary}, machine)
        if known:
            assert cls.Options().boundary == "zeros"


@pytest.mark.parametrize(("machine", "boundary"), LOCAL)
def test_comparisons_count_every_pixel_with_every_candidate(machine: str, boundary: str | None) -> None:
    images = uniform(0, 3, 2, 4, 6)
    model = build(machine, boundary, images)
    for k in (1, 3) if boundary == "valid" else (1, 3, 5, 7):
        pairs = oracle.pixels(machine, boundary, images[0], images, 1.0, k)
        assert model.traits.comparisons(k) == sum(len(pixel.places) for pixel in pairs)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_valid_windows_larger_than_the_image_are_refused(shape: tuple[int, ...]) -> None:
    model = build("els", "valid", uniform(0, 2, 1, *shape))
    x = torch.zeros(1, 1, *shape, dtype=torch.float64)
    with pytest.raises(mosaic.UsageError, match=r"(?s)valid.*\b5\b|\b5\b.*valid"):
        model.denoise(x, mosaic.Level(0.8, 0.6), None, 5)
    with pytest.raises(mosaic.UsageError, match=r"\b5\b"):
        model.check((), (3, 5), ())
    model.check((), (3, 1), ())


# Two images: the mosaic of figure 3


def mosaic_of_two_images(steps: int, seeds: int) -> np.ndarray:
    """Final images of DDIM runs with D = {all -1, all +1}, ELS circular, k = 3: (seeds, 32, 32)."""
    images = np.ones((2, 1, 32, 32), np.float32) * np.array([-1, 1], np.float32).reshape(2, 1, 1, 1)
    model = build("els", "circular", images)
    schedule = mosaic.registry().get("schedule", "cosine")()
    draws = [torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(seeds)]
    level = schedule.level(1.0)
    x = level.noise * torch.stack(draws)
    for step in range(steps, 0, -1):
        denoised = model.denoise(x, level, None, 3)
        eps = (x - level.signal * denoised) / level.noise
        level = schedule.level((step - 1) / steps)
        x = level.signal * denoised + level.noise * eps
    return denoised[:, 0].double().numpy()


def share_in_the_majority(final: np.ndarray) -> float:
    """Share of pixels within 1e-2 of the colour, -1 or +1, that most of their 3 x 3 window has."""
    offsets = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    majority = np.sign(sum(np.roll(np.sign(final), shift, axis=(1, 2)) for shift in offsets))
    return float((np.abs(final - majority) <= 1e-2).mean())


def test_two_images_give_a_mosaic_of_majorities_that_sharpens_with_the_steps() -> None:
    shares = {steps: share_in_the_majority(mosaic_of_two_images(steps, seeds=4)) for steps in (5, 20, 100)}
    assert shares[5] < shares[20] < shares[100]
    assert shares[100] >= 0.99
    assert shares[5] > 0.95


@pytest.mark.slow
def test_two_images_approach_the_continuous_limit_at_a_thousand_steps() -> None:
    hundred, thousand = (share_in_the_majority(mosaic_of_two_images(steps, seeds=4)) for steps in (100, 1000))
    assert thousand > hundred
    assert thousand >= 0.995
