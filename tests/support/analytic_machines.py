"""The analytic machines as the tests call them: by name, on arrays; and images most of whose windows have equals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import oracle
import pytest
import torch

import mosaic

__all__ = ["ATTRIBUTED", "LOCAL", "MACHINES", "build", "denoise", "two_valued_images", "uniform"]

MACHINES = pytest.mark.parametrize(
    ("machine", "boundary"), oracle.CASES, ids=["-".join(filter(None, case)) for case in oracle.CASES]
)
LOCAL = [case for case in oracle.CASES if case[0] in ("ls", "els")]
_BY_ENGINE = [
    (machine, boundary, engine)
    for machine, boundary in oracle.CASES
    for engine in (("torch", "compiled", "reference") if machine in ("ls", "els") else ("torch",))
]
ATTRIBUTED = pytest.mark.parametrize(
    ("machine", "boundary", "engine"), _BY_ENGINE, ids=["-".join(filter(None, case)) for case in _BY_ENGINE]
)


def build(machine: str, boundary: str | None, images: Any, labels: Any = None, engine: str = "auto") -> Any:
    """A machine over these images, of three classes where there are labels."""
    images = torch.as_tensor(images)
    if labels is None:
        dataset = mosaic.DataSet("t", images)
    else:
        labels = torch.as_tensor(labels, dtype=torch.int64)
        dataset = mosaic.DataSet("t", images, labels, ("zero", "one", "two"))
    kind = mosaic.registry().get("score", machine)
    options = kind.Options() if boundary is None else kind.Options(boundary=boundary, engine=engine)
    return kind(options, dataset)


def denoise(
    machine: str,
    boundary: str | None,
    x: Any,
    images: Any,
    level: tuple[float, float],
    k: int,
    labels: Any = None,
    wanted: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """x0hat as NumPy float64, of NumPy (or torch) input in whatever precision; `wanted` are the samples' labels."""
    own = None if wanted is None else torch.as_tensor(wanted, dtype=torch.int64)
    result = build(machine, boundary, images, labels).denoise(torch.as_tensor(x), mosaic.Level(*level), own, k)
    assert result.shape == torch.as_tensor(x).shape
    assert result.dtype == torch.as_tensor(x).dtype
    return result.double().numpy()


def uniform(seed: int, *shape: int) -> np.ndarray:
    """Pixels between -1 and 1."""
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def two_valued_images(seed: int, channels: int = 1) -> torch.Tensor:
    """Images (6, C, 6, 5) of two values, mostly blank, one twice and a translate: many windows have equals."""
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(6, channels, 6, 5, generator=generator) > 0.8).double() * 2 - 1
    images[4] = images[1]
    images[5] = images[2].roll((1, 2), (1, 2))
    return images
