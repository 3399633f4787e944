"""Noise that depends on (seed, sample) only: not on the batch size, not on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["StepNoise", "initial_noise", "noise_of", "random_labels", "sample_seed"]

_INITIAL, _STEPS, _LABEL = range(3)


def sample_seed(seed: int, sample: int) -> int:
    """Seed of one sample's noise, mixed from the run's seed and the sample's index; non-negative int64."""
    return _mixed(seed, sample, _INITIAL)


def _mixed(seed: int, sample: int, purpose: int) -> int:
    # SeedSequence gives independent streams for neighbouring seeds. The seed is stored as int64, so one bit is dropped.
    return int(np.random.SeedSequence((seed, sample, purpose)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator(device="cpu").manual_seed(seed)


def initial_noise(seed: int, samples: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """Standard normal noise (len(samples), C, H, W), float32, drawn on the CPU so that all devices get the same."""
    return noise_of([sample_seed(seed, i) for i in samples], shape)


def noise_of(seeds: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """Standard normal noise (len(seeds), C, H, W), float32, of samples by their own seeds, which a run stores."""
    return torch.stack([_normal(shape, _generator(seed)) for seed in seeds])


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


class StepNoise:
    """The noise of an ancestral sampler: one generator per sample, separate from that of its initial noise.

    Parameters
    ----------
    seeds : sequence of int
        `sample_seed` of each sample of the batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [_generator(_mixed(seed, 0, _STEPS)) for seed in seeds]

    def __call__(self, x: Tensor) -> Tensor:
        """Draw the next step's noise, like `x` (B, C, H, W)."""
        return torch.stack([_normal(x.shape[1:], generator) for generator in self._generators]).to(x)


def random_labels(seed: int, samples: int, classes: Sequence[int]) -> list[int]:
    """Draw a class for each sample, uniformly from `classes`; the n-th does not depend on `samples`."""
    return [classes[_mixed(seed, i, _LABEL) % len(classes)] for i in range(samples)]
