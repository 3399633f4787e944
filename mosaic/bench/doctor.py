"""Is this installation sound? Versions, device, data sets, plugins, and a short check of the numbers."""

from __future__ import annotations

import math
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from pydantic import ValidationError

from mosaic.engine.compiler import kernel_status
from mosaic.engine.local import equivariant_local_posterior
from mosaic.engine.naive import naive_els
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.schedule import Level
from mosaic.registry.loading import registry

__all__ = ["examine", "self_check"]

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
        return f"ok, needs `dataset.{needed}=...`"


def self_check(seconds: float = 2.0) -> dict[str, Any]:
    """Compare ELS (boundary zeros) with `naive_els` in float64 on random cases, for about `seconds`.

    Each case is computed in float64, then in float32, with the compiled engine if there is one.
    """
    generator, begin, cases = torch.Generator().manual_seed(0), time.perf_counter(), 0
    worst = {torch.float64: 0.0, torch.float32: 0.0}
    while cases < 2 or time.perf_counter() - begin < seconds:
        sizes = (torch.randint(2, high, (), generator=generator, dtype=torch.int64, device="cpu") for high in (5, 7, 7))
        count, height, width = map(int, sizes)
        images = torch.rand(count, 1, height, width, generator=generator, dtype=torch.float64, device="cpu") * 2 - 1
        noise = float(10 ** (-3 * torch.rand(1, generator=generator, dtype=torch.float32, device="cpu")))
        level, k = Level(math.sqrt(1 - noise**2), noise), 1 + 2 * (cases % 4)
        draw = torch.randn(1, 1, height, width, generator=generator, dtype=torch.float64, device="cpu")
        x = level.signal * images[:1] + level.noise * draw
        for dtype in worst:
            x, images = x.to(dtype), images.to(dtype)
            denoised = equivariant_local_posterior(x, images, level, k).mean()
            expected = naive_els(x.double(), images.double(), level, k)
            worst[dtype] = max(worst[dtype], float((denoised - expected).abs().max()))
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
