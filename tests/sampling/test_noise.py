"""Noise depends on seed and sample only."""

from __future__ import annotations

import pytest
import torch

from mosaic.sampling.noise import StepNoise, initial_noise, random_labels, sample_seed


def test_noise_depends_on_seed_and_sample_only() -> None:
    shape = (1, 3, 3)
    whole = initial_noise(7, range(5), shape)
    assert torch.equal(whole[3:], initial_noise(7, range(3, 5), shape))
    assert not torch.equal(whole[0], initial_noise(8, range(1), shape)[0])
    x = torch.zeros(5, *shape)
    together, alone = StepNoise([sample_seed(7, i) for i in range(5)]), StepNoise([sample_seed(7, 3)])
    for _ in range(3):
        assert torch.equal(together(x)[3], alone(x[:1])[0])
    assert len({sample_seed(s, i) for s in range(30) for i in range(30)}) == 900


def test_noise_is_standard_normal_and_differs_between_steps_and_samples() -> None:
    draws = initial_noise(0, range(200), (1, 10, 10))
    assert float(draws.mean()) == pytest.approx(0, abs=0.03)
    assert float(draws.std()) == pytest.approx(1, abs=0.03)
    steps = StepNoise([sample_seed(0, i) for i in range(200)])
    first, second = steps(draws), steps(draws)
    for other in (first, second):
        assert abs(float((draws * other).mean())) < 0.03
    assert abs(float((first * second).mean())) < 0.03


def test_random_labels_do_not_depend_on_the_number_of_samples() -> None:
    labels = random_labels(0, 300, [2, 5, 7])
    assert labels[:10] == random_labels(0, 10, [2, 5, 7])
    assert all(80 < labels.count(c) < 120 for c in (2, 5, 7))
