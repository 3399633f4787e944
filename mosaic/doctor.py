"""Is this installation sound? Versions, device, data sets, plugins, and a short check of the numbers."""

from __future__ import annotations

import math
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from itertools import product
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from mosaic.compiler import kernel_status
from mosaic.dataset import DataAccess
from mosaic.plugins import registry
from mosaic.schedule import Level
from mosaic.window_candidates import equivariant_windows

__all__ = ["brute_force_els", "examine"]

PACKAGES = (
    "mosaic-diffusion",
    "torch",
    "torchvision",
    "numpy",
    "xarray",
    "netCDF4",
    "pydantic",
    "pluggy",
    "click",
)


def examine(access: DataAccess) -> dict[str, Any]:
    """Examine the installation; JSON-serialisable. `healthy` is False if the self-check fails."""
    names = registry()
    check = self_check()
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": {
            "default": "cuda" if torch.cuda.is_available() else "cpu",
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "threads": torch.get_num_threads(),
        },
        "data_dir": str(access.root) if access.root is not None else None,
        "datasets": {name: _availability(name, access) for name in names.names("dataset")},
        "compiled_engine": kernel_status(),
        "plugins": [asdict(plugin) for plugin in names.plugins],
        "self_check": check,
        "healthy": check["ok"],
    }


def _availability(name: str, access: DataAccess) -> str:
    source = registry().get("dataset", name)
    try:
        return source(source.Options(), access).available() or "ok"
    except ValidationError as error:
        needed = ", ".join(str(e["loc"][0]) for e in error.errors())
        return f"ok, needs -o dataset.{needed}=..."


def self_check(seconds: float = 2.0) -> dict[str, Any]:
    """Compare ELS (zeros) with brute force in float64 on random cases, for about `seconds`: float64, then float32."""
    generator, begin, cases = torch.Generator().manual_seed(0), time.perf_counter(), 0
    worst = {torch.float64: 0.0, torch.float32: 0.0}
    while cases < 2 or time.perf_counter() - begin < seconds:
        count, height, width = (int(torch.randint(2, high, (1,), generator=generator)) for high in (5, 7, 7))
        images = torch.rand(count, 1, height, width, generator=generator, dtype=torch.float64) * 2 - 1
        noise = float(10 ** (-3 * torch.rand(1, generator=generator)))
        level, k = Level(math.sqrt(1 - noise**2), noise), 1 + 2 * (cases % 4)
        draw = torch.randn(1, 1, height, width, generator=generator, dtype=torch.float64)
        x = level.signal * images[:1] + level.noise * draw
        for dtype in worst:  # in float32 by the compiled engine, where there is one
            x, images = x.to(dtype), images.to(dtype)
            found = equivariant_windows(x, images, level, k).mean()
            expected = brute_force_els(x.double(), images.double(), level, k)
            worst[dtype] = max(worst[dtype], float((found - expected).abs().max()))
        cases += 1
    return {
        "machine": "els",
        "cases": cases,
        "largest_error": worst[torch.float64],
        "tolerance": 1e-10,
        "largest_error_float32": worst[torch.float32],
        "tolerance_float32": 2e-4,
        "ok": worst[torch.float64] <= 1e-10 and worst[torch.float32] <= 2e-4,
    }


def brute_force_els(x: Tensor, images: Tensor, level: Level, k: int) -> Tensor:
    """ELS with boundary `zeros` by its definition, one window at a time; x (1, 1, H, W), float64."""
    height, width = x.shape[-2:]
    radius, pixels = k // 2, list(product(range(height), range(width)))
    result = torch.empty_like(x)

    def overhang(i: int, j: int) -> tuple[int, ...]:
        return (
            max(0, radius - i),
            max(0, i + radius - height + 1),
            max(0, radius - j),
            max(0, j + radius - width + 1),
        )

    def window(image: Tensor, i: int, j: int) -> Tensor:
        return image[max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1]

    for i, j in pixels:
        alike = [q for q in pixels if overhang(*q) == overhang(i, j)]
        logits, centres = [], []
        for image, (row, col) in product(images[:, 0], alike):
            difference = window(x[0, 0], i, j) - level.signal * window(image, row, col)
            logits.append(-float(difference.square().sum()) / (2 * level.noise**2))
            centres.append(float(image[row, col]))
        weights = [math.exp(logit - max(logits)) for logit in logits]
        result[0, 0, i, j] = sum(w * c for w, c in zip(weights, centres, strict=True)) / sum(weights)
    return result
