"""The compiled kernel of ELS: the same numbers as torch in float64 and as brute force."""

from __future__ import annotations

import math

import oracle
import pytest
import torch
from built_kernel import MISSING, needs_kernel
from candidate_posteriors import ADVERSARIAL, adversarial, by_reference
from hypothesis import given, settings
from hypothesis import strategies as st

import mosaic
from mosaic.engine.compute import ENGINES


@needs_kernel
@given(st.integers(0, 10**6), st.sampled_from(["zeros", "circular", "valid"]), st.floats(-1.3, 0), st.data())
@settings(deadline=None, derandomize=True, max_examples=150)
def test_the_kernel_agrees_with_float64(seed: int, boundary: str, log_noise: float, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(seed)
    count, channels = data.draw(st.integers(1, 70)), data.draw(st.sampled_from([1, 3]))
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
