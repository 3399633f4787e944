"""Random numbers of score models: fresh at every evaluation, and yet a function of what is evaluated."""

from __future__ import annotations

import struct
from hashlib import sha256

import torch
from torch import Tensor

import mosaic

__all__ = ["generator_for"]


def generator_for(sample: Tensor, level: mosaic.Level, seed: int) -> torch.Generator:
    """Give a CPU generator seeded by a noisy sample, its level and an option `seed`.

    Draws are independent from step to step and from sample to sample, as if they were fresh. But a run can be resumed
    and repeated, and what a sample becomes does not depend on the others of its batch.

    Parameters
    ----------
    sample : Tensor (C, H, W), float32 or float64
        One sample x_t. It is hashed in float32, so that the same sample in either precision has the same draws.
    level : Level
        Its noise level.
    seed : int
        0 to 2^64 - 1.
    """
    pixels = sample.detach().to("cpu", torch.float32) + 0.0  # which makes 0 of -0
    digest = sha256(struct.pack("<Qdd", seed, level.signal, level.noise))
    digest.update(pixels.contiguous().numpy().tobytes())
    state = int.from_bytes(digest.digest()[:8], "little")
    return torch.Generator("cpu").manual_seed(state)
