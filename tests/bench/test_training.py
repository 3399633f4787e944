"""The yardstick of trainings: a bare loop that does train, and rates that are images over seconds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mosaic
from mosaic.bench.training import STEPS, bare_loop, training_throughput


class Recording(nn.Module):
    """Predicts x times a learned factor; keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))
        self.given: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is None
        self.given.append((x.detach().clone(), t.clone()))
        eps: Tensor = self.factor * x
        return eps


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_bare_loop_trains_on_noisy_images_of_the_cosine_schedule(precision: str) -> None:
    """Images are all 1, so that x minus the signal at t is the noise, of standard deviation 1 once divided by s(t)."""
    dataset = mosaic.DataSet("ones", torch.ones(7, 1, 16, 16))
    module = Recording()
    step = bare_loop(module, dataset, 5, precision)
    torch.manual_seed(0)
    for _ in range(4):
        step()
    x, t = (torch.cat(parts).double().numpy() for parts in zip(*module.given, strict=True))
    assert x.shape == (20, 1, 16, 16)
    angle = math.pi / 2 / 1.008 * t[:, None, None, None]
    noise = (x - np.cos(angle)) / np.sin(angle)
    assert abs(noise.mean()) < 0.05  # 5120 numbers: more than 3 standard deviations of their mean
    assert abs(noise.std() - 1) < 0.05
    assert 0 <= t.min() < 0.3 < 0.7 < t.max() < 1
    assert 0 < abs(module.factor.item() - 0.5) < 4 * 1.1e-4  # Adam moves by its learning rate, 1e-4, a step


def test_rates_are_images_over_the_median_of_the_seconds(tiny: mosaic.DataSet) -> None:
    actual = training_throughput(tiny, 4, 32, 3)
    for seconds, rate in (("seconds", "images_per_second"), ("bare_seconds", "bare_images_per_second")):
        assert len(actual[seconds]) == 3
        assert actual[rate] == pytest.approx(STEPS * 12 / np.median(actual[seconds]))  # twelve images are a batch
    assert actual["ratio"] == pytest.approx(actual["images_per_second"] / actual["bare_images_per_second"])
    assert actual["precision"] in ("float32", "bfloat16")
    assert actual["comparisons"] == 0
