"""The compiled kernel of ELS: the same numbers as torch in float64 and as brute force."""

from __future__ import annotations

import math

import oracle
import pytest
import torch
from built_kernel import MISSING, needs_kernel
from candidate_posteriors import (
    ADVERSARIAL,
    adversarial,
    assert_diagnostics_are_the_oracles,
    assert_mean_is_the_oracles,
    assert_weights_are_multiplicities,
    by_reference,
    noisy_case,
    posterior,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import mosaic
from mosaic.engine.compiled import unsupported
from mosaic.engine.compute import ENGINES

CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 16)

WINDOWS = [
    ("ls", "zeros", 5), ("ls", "circular", 9), ("els", "zeros", 1), ("els", "zeros", 5), ("els", "zeros", 15),
    ("els", "circular", 3), ("els", "circular", 9), ("els", "valid", 5),
]  # fmt: skip


@needs_kernel
@given(st.integers(0, 10**6), st.sampled_from(["zeros", "circular", "valid"]), st.floats(-1.3, 0), st.data())
@settings(deadline=None, derandomize=True, max_examples=150)
def test_the_kernel_agrees_with_float64(seed: int, boundary: str, log_noise: float, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(seed)
    channels = data.draw(st.sampled_from(CHANNELS))
    count = data.draw(st.integers(1, 70 if channels < 4 else 20))
    height, width, batch = (data.draw(st.integers(1, top)) for top in (12, 12, 3))
    largest = min(height, width) if boundary == "valid" else 2 * max(height, width) - 1
    k = 1 + 2 * data.draw(st.integers(0, (largest - 1) // 2))
    images = torch.rand(count, channels, height, width, generator=generator) * 2 - 1
    if data.draw(st.booleans()):
        images = images.round()  # ties, and blank windows
    noise = 10**log_noise
    level = mosaic.Level(math.sqrt(1 - min(noise, 0.9999) ** 2), noise)
    x = level.signal * images[:1] + noise * torch.randn(batch, channels, height, width, generator=generator)
    actual = mosaic.equivariant_local_posterior(
        x, images, level, k, boundary, compute=mosaic.Compute("compiled")
    ).mean()
    torch.testing.assert_close(actual, by_reference(x, images, level, k, boundary), rtol=0, atol=2e-4)


@needs_kernel
@pytest.mark.parametrize("noise", [1e-3, 1e-2, 0.3, 80.0])
@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_cases_agree_with_float64(case: str, noise: float) -> None:
    x, images, level = adversarial(case, noise)
    for k in (1, 5, 17):
        actual = mosaic.equivariant_local_posterior(
            x, images, level, k, "zeros", compute=mosaic.Compute("compiled")
        ).mean()
        torch.testing.assert_close(actual, by_reference(x, images, level, k, "zeros"), rtol=0, atol=2e-4)


@needs_kernel
@pytest.mark.parametrize(("machine", "boundary", "k"), WINDOWS)
@pytest.mark.parametrize(("channels", "noise"), [(2, 0.9), (4, 0.06), (9, 0.9)])
def test_every_number_of_channels_agrees_with_the_oracle(
    machine: str, boundary: str, k: int, channels: int, noise: float
) -> None:
    assert_mean_is_the_oracles(machine, boundary, k, "compiled", channels, noise)


@needs_kernel
@pytest.mark.parametrize(("machine", "boundary", "k"), WINDOWS)
def test_diagnostics_and_weights_hold_for_every_number_of_channels(machine: str, boundary: str, k: int) -> None:
    assert_diagnostics_are_the_oracles(machine, boundary, k, "compiled", 0.5, channels=2)
    assert_weights_are_multiplicities(machine, boundary, k, "compiled", channels=5)


@needs_kernel
@pytest.mark.parametrize(("channels", "noise"), [(4, 0.1), (4, 0.7), (7, 0.7)])
def test_channels_that_are_zero_change_nothing(channels: int, noise: float) -> None:
    """Three channels among more, whose sums the compiler keeps elsewhere, are averaged as they are alone."""
    x, images, level = noisy_case(3, noise)
    wide_x, wide = (torch.cat([t, t.new_zeros(len(t), channels - 3, *t.shape[2:])], 1) for t in (x, images))
    for boundary in ("zeros", "circular", "valid"):
        alone = posterior("els", boundary, x, images, level, 5, "compiled", diagnostics=True)
        among = posterior("els", boundary, wide_x, wide, level, 5, "compiled", diagnostics=True)
        assert torch.equal(among.mean()[:, 3:], torch.zeros_like(among.mean()[:, 3:]))
        torch.testing.assert_close(among.mean()[:, :3], alone.mean(), rtol=0, atol=1e-6)
        assert among.source is not None
        assert alone.source is not None
        assert torch.equal(among.source, alone.source)


@needs_kernel
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_images_and_weights_of_any_strides_are_read_in_place(boundary: str) -> None:
    x, images, level = noisy_case(4, 0.5)
    weights = torch.rand(len(images), 7, 6, generator=torch.Generator().manual_seed(0)) + 0.1
    results = []
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 3, 1)):
        back = sorted(range(4), key=order.__getitem__)
        strided = images.permute(order).contiguous().permute(back)
        turned = weights.permute(2, 1, 0).contiguous().permute(2, 1, 0)
        results += [
            posterior("els", boundary, x, strided, level, 5, "compiled", weights=given) for given in (weights, turned)
        ]
    for other in results[1:]:
        assert torch.equal(other.total, results[0].total)
        assert torch.equal(other.weighted, results[0].weighted)


def test_only_device_and_dtype_stand_in_the_way_of_the_kernel() -> None:
    for shape in ((1, 1, 1, 1), (2, 2, 64, 64), (1, 17, 3, 5), (1, 512, 2, 2)):
        images = torch.zeros(shape)
        assert unsupported(images, images) == (MISSING or None)
        assert "float32" in str(unsupported(images.double(), images))
        assert "float32" in str(unsupported(images, images.double()))
        assert "meta" in str(unsupported(images.to("meta"), images.to("meta")))


@needs_kernel
def test_the_kernel_agrees_with_the_oracle_where_blocks_end() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(9, 1, 7, 6, generator=generator) * 2 - 1
    level = mosaic.Level(0.8, 0.6)
    x = 0.8 * images[:1] + 0.6 * torch.randn(1, 1, 7, 6, generator=generator)
    actual = mosaic.equivariant_local_posterior(x, images, level, 3, "zeros", compute=mosaic.Compute("compiled")).mean()
    expected = oracle.els(x[0].double().numpy(), images.double().numpy(), 0.8, 0.6, 3, "zeros")
    torch.testing.assert_close(actual[0], torch.from_numpy(expected), rtol=0, atol=1e-5)


@needs_kernel
def test_the_kernel_does_not_depend_on_threads_and_repeats() -> None:
    generator = torch.Generator().manual_seed(0)
    images, threads = torch.rand(500, 1, 16, 16, generator=generator), torch.get_num_threads()
    x = torch.randn(2, 1, 16, 16, generator=generator)
    try:
        results = []
        for number in (1, 2, 5, 5):
            torch.set_num_threads(number)
            results.append(
                mosaic.equivariant_local_posterior(
                    x, images, mosaic.Level(0.6, 0.8), 5, "zeros", compute=mosaic.Compute("compiled")
                ).mean()
            )
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_every_engine_is_within_the_bound_of_float32(engine: str, noise: float) -> None:
    if engine == "compiled" and MISSING:
        pytest.skip(f"no compiled kernel: {MISSING}")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 3, 10, 8, generator=generator) * 2 - 1
    level = mosaic.Level(math.sqrt(1 - noise**2), noise)
    x = level.signal * images[:2] + noise * torch.randn(2, 3, 10, 8, generator=generator)
    actual = mosaic.equivariant_local_posterior(x, images, level, 5, "zeros", compute=mosaic.Compute(engine)).mean()
    torch.testing.assert_close(actual, by_reference(x, images, level, 5, "zeros"), rtol=0, atol=2e-4)
