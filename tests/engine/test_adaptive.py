"""Adaptive summation: moments and errors against brute force, what is stopped, and what cannot be known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import oracle
import pytest
import torch
from built_kernel import needs_kernel
from torch import Tensor

import mosaic
from mosaic.engine import adaptive
from mosaic.engine.adaptive import random_order, ratio_error, stages
from mosaic.engine.compiled import compiled_windows
from mosaic.engine.naive import naive_els
from mosaic.engine.precision import Arithmetic
from mosaic.engine.window_problem import WindowProblem
from mosaic.engine.windows import window_axis

LEVEL = mosaic.Level(0.8, 0.6)
ENGINES = [pytest.param("compiled", marks=needs_kernel), "torch", "reference"]
CASES = [("ls", "zeros", 3), ("ls", "circular", 3), ("els", "zeros", 3), ("els", "zeros", 7), ("els", "valid", 3)]
TOLERANCE = 0.01


def noisy_images(count: int, channels: int, side: int, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(count, channels, side, side, generator=generator) * 4).floor() / 2 - 1
    noise = torch.randn(batch, channels, side, side, generator=generator)
    return LEVEL.signal * images[:batch] + LEVEL.noise * noise, images


def posterior_of(machine: str, x: Tensor, images: Tensor, k: int, boundary: str, **options: object) -> mosaic.Posterior:
    compare = mosaic.local_posterior if machine == "ls" else mosaic.equivariant_local_posterior
    return compare(x, images, LEVEL, k, boundary, compute=mosaic.Compute(**options))  # type: ignore[arg-type]


def brute_force_squares(machine: str, x: Tensor, images: Tensor, k: int, boundary: str) -> np.ndarray:
    """Sums over images of W^2, W V, V^2 (1 + 2 C, H, W) for one sample, with weights that add up to 1."""
    count, channels, height, width = images.shape
    result = np.zeros((1 + 2 * channels, height, width))
    wide = images.double().numpy()
    for pixel in oracle.pixels(machine, boundary, x.double().numpy(), wide, LEVEL.signal, k):
        weights = pixel.weights(LEVEL.noise)
        sums = np.zeros((count, 1 + channels))
        for weight, (image, row, column) in zip(weights, pixel.places, strict=True):
            sums[image] += weight * np.array([1, *wide[image, :, row, column]])
        total, values = sums[:, :1], sums[:, 1:]
        products = np.concatenate([total**2, total * values, values**2], 1).sum(0)
        result[:, pixel.row, pixel.column] = products
    return result


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("machine", "boundary", "k"), CASES)
@pytest.mark.parametrize("channels", [1, 2])
def test_moments_are_those_of_brute_force(engine: str, machine: str, boundary: str, k: int, channels: int) -> None:
    x, images = noisy_images(21, channels, 4)
    posterior = posterior_of(machine, x, images, k, boundary, engine=engine, moments=True, block=999)
    plain = posterior_of(machine, x, images, k, boundary, engine=engine, block=999)
    torch.testing.assert_close(posterior.mean(), plain.mean(), rtol=0, atol=1e-6)
    assert posterior.squares is not None
    squares = posterior.squares / posterior.total[:, None] ** 2
    for sample, mine in zip(x, squares, strict=True):
        np.testing.assert_allclose(
            mine, brute_force_squares(machine, sample, images, k, boundary), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_moments_of_parts_merge_into_those_of_all(engine: str) -> None:
    x, images = noisy_images(40, 2, 5)
    whole = posterior_of("els", x, images, 3, "zeros", engine=engine, moments=True)
    parts = [posterior_of("els", x, part, 3, "zeros", engine=engine, moments=True) for part in images.split(16)]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert whole.squares is not None
    assert merged.squares is not None
    scale = torch.exp2(merged.maximum - whole.maximum)[:, None] ** 2
    torch.testing.assert_close(merged.squares * scale, whole.squares, rtol=1e-4, atol=1e-12)


def test_moments_and_diagnostics_are_not_asked_for_at_once() -> None:
    with pytest.raises(mosaic.UsageError, match="one of them"):
        mosaic.Compute(diagnostics=True, moments=True)


@needs_kernel
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize(("boundary", "k", "channels"), [("zeros", 3, 1), ("zeros", 7, 3), ("circular", 5, 2)])
def test_pixels_that_are_left_out_change_no_bit_of_the_others(
    precision: torch.dtype, boundary: str, k: int, channels: int
) -> None:
    x, images = noisy_images(40, channels, 11)
    rows = cols = window_axis(11, k, boundary)
    compute = mosaic.Compute("compiled", moments=True)
    problem = WindowProblem(x, images, LEVEL, rows, cols, None, images, Arithmetic(precision, True), compute)
    whole = compiled_windows(problem)
    for share in (0.1, 0.5, 0.95):
        only = torch.rand(2, 11, 11, generator=torch.Generator().manual_seed(1)) < share
        part = compiled_windows(replace(problem, only=only)).only_at(only)
        for name, tensor in part.parts().items():
            mine, theirs = (t if t.ndim == 3 else t.movedim(1, -1) for t in (tensor, getattr(whole, name)))
            assert torch.equal(mine[only], theirs[only])
        assert bool((part.total[~only] == 0).all())
        merged = whole.merge(part.only_at(torch.zeros_like(only)))
        assert all(torch.equal(tensor, getattr(whole, name)) for name, tensor in merged.parts().items())


@pytest.mark.parametrize("images", [1, 5, 127, 128, 129, 200, 1000, 60_000])
def test_stages_rise_to_all_images(images: int) -> None:
    ends = stages(images)
    assert ends[-1] == images
    assert all(end % 16 == 0 for end in ends[:-1])
    assert all(early < late for early, late in pairwise(ends))
    assert ends[0] >= min(images, 128)


def test_the_order_is_the_same_everywhere_and_another_at_each_level() -> None:
    order = random_order(8, LEVEL, 0)
    assert sorted(order.tolist()) == list(range(8))
    others = [random_order(8, mosaic.Level(0.8, 0.61), 0), random_order(8, LEVEL, 1)]
    assert all(other.tolist() != order.tolist() for other in others)
    nearly = mosaic.Level(0.8, math.nextafter(0.6, 1))  # another mathematical library
    assert random_order(8, nearly, 0).tolist() == order.tolist() == ORDER


ORDER = [2, 6, 0, 3, 5, 7, 4, 1]  # of torch 2.6 to 2.13


def test_the_error_is_the_spread_of_the_mean_over_orders() -> None:
    x, images = noisy_images(160, 1, 6, batch=1)
    exact = posterior_of("els", x, images, 3, "zeros", engine="reference").mean()
    errors, off = [], []
    for seed in range(40):
        chosen = random_order(160, LEVEL, seed)[:80]
        posterior = posterior_of("els", x, images[chosen], 3, "zeros", engine="torch", moments=True)
        errors.append(ratio_error(posterior, 80, 160)[0][0])
        off.append((posterior.mean() - exact)[0, 0])
    said, found = torch.stack(errors).square().mean().sqrt(), torch.stack(off).square().mean().sqrt()
    assert 0.85 < float(said / found) < 1.15


def strokes(count: int, seed: int = 0) -> Tensor:
    """Images (count, 1, 10, 10) with bars on a blank ground: many equal windows, and some that are rare."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((count, 1, 10, 10), -1.0)
    for image, (row, column, length, upright) in zip(
        images, torch.randint(1, 8, (count, 4), generator=generator).tolist(), strict=True
    ):
        bar = image[0, row : row + length, column] if upright % 2 else image[0, row, column : column + length]
        bar += 1 + torch.rand(bar.shape, generator=generator)
    return images


def estimate_of(x: Tensor, images: mosaic.Images, level: mosaic.Level = LEVEL, **options: object) -> mosaic.Estimate:
    given = {"tolerance": TOLERANCE, **options}
    return mosaic.equivariant_local_estimate(x, images, level, 3, "zeros", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("noise", [0.3, 0.6, 0.95])
def test_pixels_are_within_the_tolerance_and_the_others_exact(engine: str, noise: float) -> None:
    level = mosaic.Level(math.sqrt(1 - noise**2), noise)
    images = strokes(400)
    x = level.signal * images[:2] + noise * torch.randn(2, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    estimate = estimate_of(x, images, level, compute=mosaic.Compute(engine))
    exact = naive_els(x.double(), images.double(), level, 3)
    off = (estimate.denoised - exact).abs()[:, 0]
    assert float((off < TOLERANCE).double().mean()) >= 0.99
    assert bool(estimate.stopped.any())
    assert float(off.masked_fill(estimate.stopped, 0).max()) < 1e-4
    assert bool((estimate.error[~estimate.stopped] == 0).all())
    assert float(estimate.error.max()) < TOLERANCE / 3
    assert bool((estimate.compared < 1).all())
    assert bool((estimate.compared > 0).all())


def test_without_stops_it_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "EFFECTIVE", math.inf)
    x, images = noisy_images(300, 1, 7)
    estimate = estimate_of(x, images)
    torch.testing.assert_close(estimate.denoised, naive_els(x.double(), images.double(), LEVEL, 3), rtol=0, atol=1e-5)
    assert estimate.compared.tolist() == [1, 1]
    assert not bool(estimate.stopped.any())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sample_does_not_depend_on_its_batch(engine: str) -> None:
    images = strokes(300)
    x = LEVEL.signal * images[:3] + LEVEL.noise * torch.randn(3, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    x[2] *= 30  # alone it would be compared in another precision
    together = estimate_of(x, images, compute=mosaic.Compute(engine))
    for sample in range(3):
        alone = estimate_of(x[sample : sample + 1], images, compute=mosaic.Compute(engine))
        for name in ("denoised", "compared", "stopped", "error"):
            assert torch.equal(getattr(together, name)[sample : sample + 1], getattr(alone, name))


def of_one_grey(values: Tensor) -> Tensor:
    """Images (n, 1, 5, 5) that are each of one grey."""
    return values.view(-1, 1, 1, 1).expand(-1, 1, 5, 5).contiguous()


def test_few_good_matches_among_many_poor_ones_do_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    # 80 of 1,600 images match, 72 of one grey and 8 of another. The first few seen are mostly of one grey: they do not
    # spread, and the error is nothing.
    greys = torch.tensor([1.0, -1.0]).repeat(800)
    greys[::20], greys[::200] = 0.3, -0.3
    images, level, x = of_one_grey(greys), mosaic.Level(1.0, 0.25), torch.zeros(1, 1, 5, 5)
    exact = naive_els(x.double(), images.double(), level, 3)

    def wrong_share() -> float:
        estimates = [estimate_of(x, images, level, order=order) for order in range(10)]
        return float(np.mean([((e.denoised - exact).abs() > TOLERANCE).double().mean() for e in estimates]))

    assert wrong_share() == 0
    monkeypatch.setattr(adaptive, "EFFECTIVE", 0.0)  # what the error alone would do
    assert wrong_share() > 0.2


def test_one_perfect_match_is_missed_where_it_has_not_been_seen() -> None:
    # What the module says: nothing in a sample tells of one image that is unlike all others.
    count, level, x = 640, mosaic.Level(1.0, 0.25), torch.full((1, 1, 5, 5), 0.5)
    greys = -1 + 1e-3 * torch.rand(count, generator=torch.Generator().manual_seed(0))
    greys[77] = 0.5
    images, first = of_one_grey(greys), stages(count)[0]
    seen_at_first = [77 in random_order(count, level, order)[:first].tolist() for order in range(8)]
    assert len(set(seen_at_first)) == 2
    for order, seen in enumerate(seen_at_first):
        estimate = estimate_of(x, images, level, order=order)
        assert bool(estimate.stopped.all()) == (not seen)
        assert float(estimate.denoised[0, 0, 2, 2]) == pytest.approx(0.5 if seen else -1, abs=0.01)


def test_images_that_are_read_in_pieces_give_the_same_bits() -> None:
    class Stored(mosaic.ImageSource):
        def read(self, first: int, last: int) -> np.ndarray:
            return whole[first:last]

    images = strokes(300)
    whole = images.numpy()
    x = LEVEL.signal * images[:1] + LEVEL.noise * torch.randn(1, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    pieces, memory = estimate_of(x, Stored(whole.shape, "float32")), estimate_of(x, images)
    assert torch.equal(pieces.denoised, memory.denoised)
    assert torch.equal(pieces.stopped, memory.stopped)


def test_an_order_sorted_by_class_changes_nothing_that_matters() -> None:
    images = torch.cat([strokes(400)[:200], -strokes(400, 1)[:200]])  # files are often sorted by class
    x = LEVEL.signal * images[:1] + LEVEL.noise * torch.randn(1, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    exact = naive_els(x.double(), images.double(), LEVEL, 3)
    for order in range(4):
        off = (estimate_of(x, images, order=order).denoised - exact).abs()
        assert float((off < TOLERANCE).double().mean()) >= 0.99


@pytest.mark.parametrize("tolerance", [0.0, -0.1, math.nan, math.inf])
def test_tolerances_that_are_none_are_refused(tolerance: float) -> None:
    x, images = noisy_images(20, 1, 5)
    with pytest.raises(mosaic.UsageError, match=str(tolerance)):
        estimate_of(x, images, tolerance=tolerance)


def test_an_estimate_has_no_diagnostics() -> None:
    x, images = noisy_images(20, 1, 5)
    for compute in (mosaic.Compute(diagnostics=True), mosaic.Compute(shards=range(1))):
        with pytest.raises(mosaic.UsageError, match="exact"):
            estimate_of(x, images, compute=compute)
