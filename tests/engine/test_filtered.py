"""The general machine: brute force, and the theories of which it is the general case."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import theory_oracle
import torch
from theories import LEVELS, images_of, model_of, noisy
from torch import Tensor

import mosaic
from mosaic import Compute, Filters, Level, Move, filtered_posterior_mean
from mosaic.device import limited_threads

SHAPE = (2, 5, 4)
CUT = Compute(block=500)  # pieces of a few images
AT_EACH_LEVEL = pytest.mark.parametrize("level", LEVELS)


def case(level: tuple[float, float], shape: tuple[int, int, int] = SHAPE, count: int = 7) -> tuple[Tensor, Tensor]:
    images = images_of(count, *shape)
    return torch.as_tensor(noisy(images, level)), torch.as_tensor(images)


def made_up(count: int, pixels: int) -> Filters:
    """Filters of any precisions, some of them 0, and any responses."""
    generator = torch.Generator().manual_seed(3)
    precisions, responses = torch.rand(2, count, pixels, generator=generator, dtype=torch.float64)
    return Filters((2 * precisions - 0.5).clamp_min(0), responses / responses.sum(0))


# Brute force


@pytest.mark.parametrize("compute", [Compute(), CUT])
@pytest.mark.parametrize("temperature", [1.0, 0.3, 20.0])
@AT_EACH_LEVEL
def test_it_is_the_formula(level: tuple[float, float], temperature: float, compute: Compute) -> None:
    """With soft precisions and responses, weights, and images that are flipped, turned and shifted for some filters."""
    x, images = case(level, (2, 3, 3))
    weights = torch.arange(1, 8, dtype=torch.float64)
    some, others = torch.tensor([True, False, True, False, True]), torch.tensor([True, True, False, True, True])
    moves = [Move(), Move(shift=(1, 2), allowed=some), Move(True, 1, allowed=others), Move(False, 2, (0, 1))]
    filters = made_up(5, 18)
    actual = filtered_posterior_mean(
        x, images, Level(*level), filters, moves=moves, weights=weights, temperature=temperature, compute=compute
    )
    arrays = images.numpy()
    moved = [
        arrays,
        np.roll(arrays, (1, 2), (2, 3)),
        np.rot90(arrays[..., ::-1], 1, (2, 3)),
        np.roll(np.rot90(arrays, 2, (2, 3)), 1, 3),
    ]
    allowed = np.stack([np.ones(5), some.numpy(), others.numpy(), np.ones(5)])
    times = (allowed[:, None] * weights.numpy()[None, :, None]).reshape(-1, 5)
    responses = filters.responses.numpy()
    for sample, mean in zip(x.numpy(), actual.numpy(), strict=True):
        expected = theory_oracle.filtered(
            sample, np.concatenate(moved), times, filters.precisions.numpy(), responses, *level, temperature
        )
        np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-12)


def gaussian(k: int, width: float) -> list[float]:
    return [math.exp(-(u**2) / (2 * width**2)) for u in range(-(k // 2), k // 2 + 1)]


@pytest.mark.parametrize("boundary", ["zeros", "circular", "valid", "aligned"])
@pytest.mark.parametrize(("k", "width"), [(3, 0.8), (3, 5.0), (1, 1.0)])
def test_windows_may_be_soft(boundary: str, k: int, width: float) -> None:
    level, shape = (0.8, 0.6), (2, 4, 3)
    x, images = case(level, shape, 4)
    aligned = boundary == "aligned"
    boundary = "zeros" if aligned else boundary
    filters = Filters.windows(shape, k, boundary, profile=gaussian(k, width))
    moves = [Move()] if aligned else Move.translates(*shape[1:], k, boundary)
    actual = filtered_posterior_mean(x, images, Level(*level), filters, moves=moves)
    for sample, mean in zip(x.numpy(), actual.numpy(), strict=True):
        expected = theory_oracle.soft_els(sample, images.numpy(), *level, k, width, boundary, aligned)
        np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-12)


# Theories


def by_engine(
    machine: str, boundary: str | None, k: int, x: Tensor, images: Tensor, level: Level, weights: Tensor | None = None
) -> Tensor:
    compute = Compute("torch")
    whole = {"is": mosaic.ideal_posterior, "es": mosaic.equivariant_posterior}
    if machine in whole:
        return whole[machine](x, images, level, weights=weights, compute=compute).mean()
    windows = {"ls": mosaic.local_posterior, "els": mosaic.equivariant_local_posterior}[machine]
    return windows(x, images, level, k, str(boundary), compute=compute).mean()


MACHINES = [
    ("is", None, 0),
    ("es", None, 0),
    *(("ls", "zeros", k) for k in (1, 3, 5, 9)),
    ("ls", "circular", 3),
    *(("els", "zeros", k) for k in (1, 3, 5, 9)),
    ("els", "circular", 3),
    ("els", "valid", 3),
]


def as_special_case(machine: str, boundary: str | None, k: int) -> dict[str, Any]:
    filters = Filters.windows(SHAPE, k, str(boundary)) if boundary else Filters.whole(SHAPE)
    if machine in ("is", "ls"):
        return {"filters": filters}
    return {"filters": filters, "moves": Move.translates(*SHAPE[1:], k or None, boundary or "circular")}


@pytest.mark.parametrize("machine", MACHINES, ids=str)
@AT_EACH_LEVEL
def test_the_machines_are_special_cases(machine: tuple[str, str | None, int], level: tuple[float, float]) -> None:
    x, images = case(level)
    actual = filtered_posterior_mean(x, images, Level(*level), **as_special_case(*machine), compute=CUT)
    torch.testing.assert_close(actual, by_engine(*machine, x, images, Level(*level)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
@AT_EACH_LEVEL
def test_patch_posterior_is_a_special_case(k: int, boundary: str, level: tuple[float, float]) -> None:
    x, images = case(level)
    filters = Filters.windows(SHAPE, k, boundary, response="covered")
    actual = filtered_posterior_mean(x, images, Level(*level), filters, compute=CUT)
    expected = model_of("patch-posterior", images.numpy(), boundary=boundary).denoise(x, Level(*level), None, k)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("compute", [Compute(), CUT])
@AT_EACH_LEVEL
def test_masks_are_those_of_pca_locality(level: tuple[float, float], compute: Compute) -> None:
    x, images = case(level, count=30)
    masks = theory_oracle.pca_masks(images.numpy(), *level, 0.1)
    assert 0 < masks.mean() < 1
    filters = Filters.masks(torch.as_tensor(masks.T).double())
    actual = filtered_posterior_mean(x, images, Level(*level), filters, compute=compute)
    subset = filtered_posterior_mean(x, images[3:9], Level(*level), filters, compute=compute)
    for n, sample in enumerate(x.numpy()):
        expected = theory_oracle.pca_locality(sample, images.numpy(), *level, 0.1)
        np.testing.assert_allclose(actual[n], expected, rtol=0, atol=1e-10)
        golden = theory_oracle.pca_locality(sample, images.numpy(), *level, 0.1, images[3:9].numpy())
        np.testing.assert_allclose(subset[n], golden, rtol=0, atol=1e-10)
    plugin = model_of("pca-locality", images.numpy(), threshold=0.1)
    torch.testing.assert_close(plugin.denoise(x, Level(*level)), actual, rtol=0, atol=1e-10)


@AT_EACH_LEVEL
def test_golden_subset_is_a_special_case_with_a_subset_of_each_sample(level: tuple[float, float]) -> None:
    x, images = case(level, count=40)
    plugin = model_of("golden-subset", images.numpy(), low=0.1, high=0.5, proxy=2, threshold=0.1)
    filters = Filters.masks(torch.as_tensor(theory_oracle.pca_masks(images.numpy(), *level, 0.1).T).double())
    for sample, denoised in zip(x, plugin.denoise(x, Level(*level)), strict=True):
        pool = plugin.pool(sample, 40, Level(*level)).numpy()
        places = theory_oracle.golden_places(sample.numpy(), images.numpy(), pool, *level, 4, 20, 2)
        assert len(places) < 40
        actual = filtered_posterior_mean(sample[None], images[places], Level(*level), filters)
        torch.testing.assert_close(denoised[None], actual, rtol=0, atol=1e-10)


# Limits and symmetries


def test_at_infinite_temperature_it_is_the_mean_of_the_candidates() -> None:
    x, images = case((0.8, 0.1))
    filters = made_up(4, 40)
    mean = images.mean(0).expand(3, -1, -1, -1)
    hot = filtered_posterior_mean(x, images, Level(0.8, 0.1), filters, temperature=float("inf"))
    torch.testing.assert_close(hot, mean, rtol=0, atol=1e-12)
    weights = torch.arange(1, 8, dtype=torch.float64)
    hot = filtered_posterior_mean(x, images, Level(0.8, 0.1), filters, weights=weights, temperature=float("inf"))
    weighted = torch.einsum("n,nchw->chw", weights / weights.sum(), images)
    torch.testing.assert_close(hot, weighted.expand(3, -1, -1, -1), rtol=0, atol=1e-12)


def test_precisions_of_one_are_the_ideal_machine_whatever_the_responses() -> None:
    x, images = case((0.8, 0.6))
    expected = by_engine("is", None, 0, x, images, Level(0.8, 0.6))
    for responses in (made_up(6, 40).responses, torch.arange(40) % 6):
        filters = Filters(torch.ones(6, 40, dtype=torch.float64), responses)
        actual = filtered_posterior_mean(x, images, Level(0.8, 0.6), filters)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@AT_EACH_LEVEL
def test_temperature_is_noise_of_the_logits_alone(level: tuple[float, float]) -> None:
    x, images = case(level)
    a, s = level
    warm = filtered_posterior_mean(x, images, Level(a, s), made_up(4, 40), temperature=2.25)
    noisier = filtered_posterior_mean(x, images, Level(a, 1.5 * s), made_up(4, 40))
    torch.testing.assert_close(warm, noisier, rtol=0, atol=1e-12)


def test_one_filter_for_each_pixel_is_a_response_of_one() -> None:
    x, images = case((0.8, 0.6))
    own = torch.arange(40) % 7
    precisions = made_up(7, 40).precisions
    dense = torch.nn.functional.one_hot(own).T.double()
    means = [filtered_posterior_mean(x, images, Level(0.8, 0.6), Filters(precisions, each)) for each in (own, dense)]
    torch.testing.assert_close(*means, rtol=0, atol=1e-12)


@pytest.mark.parametrize("symmetry", ["flip", "turn", "shift"])
def test_a_source_with_symmetries_makes_the_machine_equivariant(symmetry: str) -> None:
    level, shape = (0.8, 0.6), (1, 4, 4)
    x, images = case(level, shape)
    change: Callable[[Tensor], Tensor] = {
        "flip": lambda batch: batch.flip(2),
        "turn": lambda batch: torch.rot90(batch, 3, (2, 3)),
        "shift": lambda batch: batch.roll((1, 3), (2, 3)),
    }[symmetry]
    moves = Move.augmented(Move.translates(4, 4, 3), flips=True, turns=True)
    assert len(moves) == 8 * 16
    filters = Filters.windows(shape, 3, "circular", profile=gaussian(3, 1.0))
    still, moved = (
        filtered_posterior_mean(each, images, Level(*level), filters, moves=moves) for each in (x, change(x))
    )
    torch.testing.assert_close(moved, change(still), rtol=0, atol=1e-12)
    plain = filtered_posterior_mean(x, images, Level(*level), filters, moves=Move.translates(4, 4, 3))
    assert float((plain - still).abs().max()) > 1e-3


# How it is computed


@pytest.mark.parametrize("size", [1, 3, 7, 9])
@pytest.mark.parametrize("dense", [False, True])
def test_batches_are_averaged_with_equal_weights(size: int, dense: bool) -> None:
    x, images = case((0.8, 0.6))
    level, weights = Level(0.8, 0.6), torch.arange(1, 8, dtype=torch.float64)
    filters = made_up(4, 40) if dense else replace(made_up(4, 40), responses=torch.arange(40) % 4)
    actual = filtered_posterior_mean(x, images, level, filters, weights=weights, batch=size)
    parts = [
        filtered_posterior_mean(x, some, level, filters, weights=own)
        for some, own in zip(images.split(size), weights.split(size), strict=True)
    ]
    torch.testing.assert_close(actual, torch.stack(parts).mean(0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dense", [False, True])
def test_bits_depend_neither_on_threads_nor_on_the_batch(dense: bool) -> None:
    x, images = case((0.8, 0.6), count=40)
    filters = made_up(4, 40) if dense else replace(made_up(4, 40), responses=torch.arange(40) % 4)

    def means(x: Tensor) -> Tensor:
        return filtered_posterior_mean(x, images, Level(0.8, 0.6), filters, compute=CUT)

    whole = means(x)
    with limited_threads(1):
        assert torch.equal(means(x), whole)
    assert torch.equal(torch.cat([means(sample) for sample in x.split(1)]), whole)


def test_precision_is_float64_unless_asked_otherwise() -> None:
    x, images = case((0.8, 0.6))
    filters = Filters.windows(SHAPE, 3)
    exact = filtered_posterior_mean(x, images, Level(0.8, 0.6), filters)
    single = filtered_posterior_mean(x.float(), images.float(), Level(0.8, 0.6), filters)
    rough = filtered_posterior_mean(x, images, Level(0.8, 0.6), filters, dtype=torch.float32)
    assert (exact.dtype, single.dtype, rough.dtype) == (torch.float64, torch.float64, torch.float32)
    torch.testing.assert_close(rough.double(), exact, rtol=0, atol=1e-5)


NONE = torch.zeros(20, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"filters": Filters.windows((2, 5, 3), 3)}, "30"),
        ({"temperature": 0.0}, "0.0"),
        ({"temperature": float("nan")}, "nan"),
        ({"batch": 0}, "0"),
        ({"moves": [Move(turns=1)]}, "5 x 4"),
        ({"moves": [Move(allowed=NONE[:3])]}, "3"),
        ({"moves": [Move(allowed=NONE)]}, "allowed"),
        ({"moves": []}, "allowed"),
        ({"weights": torch.ones(3)}, "3"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_value(arguments: dict[str, Any], value: str) -> None:
    x, images = case((0.8, 0.6))
    with pytest.raises(mosaic.UsageError, match=value):
        filtered_posterior_mean(x, images, Level(0.8, 0.6), **{"filters": Filters.windows(SHAPE, 3), **arguments})


@pytest.mark.parametrize(
    ("k", "boundary", "border"), [(3, "circular", 1), (3, "valid", 1), (None, "zeros", 1), (3, "zeros", -1)]
)
def test_a_border_that_windows_do_not_have_is_refused(k: int | None, boundary: str, border: int) -> None:
    with pytest.raises(mosaic.UsageError, match=str(border)):
        Move.translates(5, 4, k, boundary, border=border)
