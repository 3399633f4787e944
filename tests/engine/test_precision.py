"""The precision that logits are evaluated in."""

from __future__ import annotations

import torch

import mosaic
from mosaic.engine.precision import choose_arithmetic


def test_arithmetic_grows_more_careful_as_the_noise_falls() -> None:
    x = torch.zeros(1, 1, 8, 8).normal_(generator=torch.Generator().manual_seed(0))
    chosen = [choose_arithmetic(x, mosaic.Level(1.0, noise), 225, 1.0) for noise in (10.0, 0.05)]
    assert [(how.dtype, how.expanded) for how in chosen] == [(torch.float32, True), (torch.float64, True)]
    double = [choose_arithmetic(x.double(), mosaic.Level(1.0, noise), 225, 1.0) for noise in (10.0, 0.001)]
    assert [(how.dtype, how.expanded) for how in double] == [(torch.float64, True), (torch.float64, False)]
