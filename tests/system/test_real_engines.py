"""Every engine on real MNIST and CIFAR10, at every step of a run: within 1e-3 of float64, where they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mosaic
from mosaic import Compute, DataSet, Level
from mosaic.engine.compiler import KernelUnavailable, load_kernel
from mosaic.interfaces.data_source import DataAccess

pytestmark = pytest.mark.system
DATA = Path(os.environ.get("MOSAIC_DATA") or "nowhere")
ACCURACY = 1e-3


def mnist(limit: int | None) -> DataSet:
    if not (DATA / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip("MOSAIC_DATA has no MNIST")
    source = mosaic.registry().get("dataset", "mnist")
    return source(source.Options(limit=limit), DataAccess(DATA)).load()


def cifar10(limit: int) -> DataSet:
    """The first images of one class, from a sheet of 32 x 32 tiles."""
    sheets = sorted((DATA / "CIFAR10" / "exact" / "train").glob("3_*.webp"))
    if not sheets:
        pytest.skip("MOSAIC_DATA has no CIFAR10 sheets")
    pixels = np.asarray(Image.open(sheets[0]).convert("RGB"), dtype=np.float32) / 127.5 - 1
    rows, columns = pixels.shape[0] // 32, pixels.shape[1] // 32
    tiles = pixels.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)
    return DataSet("cifar10", torch.from_numpy(np.ascontiguousarray(tiles[:limit])))


def engines() -> list[str]:
    try:
        load_kernel()
    except KernelUnavailable:
        return ["torch"]
    return ["compiled", "torch"]


@pytest.mark.parametrize(("name", "limit"), [("mnist", 60), ("cifar10", 24)])
def test_every_step_of_a_run_is_within_a_thousandth_of_float64(name: str, limit: int) -> None:
    data = {"mnist": mnist, "cifar10": cifar10}[name](limit)
    run = mosaic.run("els", data, samples=1, scales=f"paper/{name}-resnet-zeros")
    for step in range(run.sizes["step"]):
        moment = run.isel(step=step)
        x, k = torch.from_numpy(moment["state"].values), int(moment["scale"])
        level = Level(float(moment["signal"]), float(moment["noise"]))
        exact = mosaic.equivariant_local_posterior(x, data.images, level, k, compute=Compute("reference")).mean()
        for engine in engines():
            actual = mosaic.equivariant_local_posterior(x, data.images, level, k, compute=Compute(engine)).mean()
            assert float((actual - exact).abs().max()) < ACCURACY, (engine, step)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 5, 10, 20])
def test_all_of_mnist_is_within_a_thousandth_of_float64(step: int) -> None:
    """Over 60,000 images; in float64 by the torch engine, which the quick tests hold to the oracle."""
    data = mnist(None)
    time, k = step / 20, {1: 3, 5: 5, 10: 9, 20: 15}[step]
    signal = float(np.cos(np.pi / 2 * time / 1.008))
    level = Level(signal, float(np.sqrt(1 - signal**2)))
    x = signal * data.images[7:8] + level.noise * torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    exact = mosaic.equivariant_local_posterior(x.double(), data.images, level, k, compute=Compute("torch")).mean()
    for engine in engines():
        actual = mosaic.equivariant_local_posterior(x, data.images, level, k, compute=Compute(engine)).mean()
        assert float((actual - exact).abs().max()) < ACCURACY, engine
