"""Throughput of a training against a bare PyTorch loop with the same network, batch and precision."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.train.config import TrainConfig
from mosaic.train.prepare import prepare_training

__all__ = ["training_throughput"]

STEPS = 4  # steps of the training, then of the bare loop, and so on: both run under the same load


def training_throughput(dataset: DataSet, channels: int, batch_size: int, repeats: int) -> dict[str, Any]:
    """Measure images a second of a training's steps (checkpoints aside) and of the bare loop, ResNet with `channels`.

    Returns
    -------
    dict
        `seconds` and `bare_seconds` of each of `repeats` turns, the medians' `images_per_second` of both, and `ratio`.
    """
    config = TrainConfig(
        network="resnet",
        network_options={"channels": channels},
        batch_size=min(batch_size, len(dataset)),
        device="cpu",
    )
    plan = prepare_training(config, DataAccess(), dataset=dataset)
    training = plan.build()
    bare = bare_loop(plan.build().module, dataset, plan.config.batch_size, plan.config.precision)

    def ours() -> None:
        training.run_step()
        training.flush()

    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for work in (ours, bare):
        work()  # starts threads, chooses algorithms
    for _ in range(repeats):
        for name, work in (("ours", ours), ("bare", bare)):
            begin = time.perf_counter()
            for _ in range(STEPS):
                work()
            seconds[name].append(time.perf_counter() - begin)
    images = STEPS * plan.config.batch_size
    rates = {name: images / sorted(values)[len(values) // 2] for name, values in seconds.items()}
    return {
        "seconds": seconds["ours"],
        "bare_seconds": seconds["bare"],
        "comparisons": 0,
        "images_per_second": rates["ours"],
        "bare_images_per_second": rates["bare"],
        "ratio": rates["ours"] / rates["bare"],
        "precision": plan.config.precision,
    }


def bare_loop(module: nn.Module, dataset: DataSet, batch_size: int, precision: str) -> Callable[[], None]:
    """Give one step of the loop that a PyTorch user writes: no average, no history, no seeds."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)

    def step() -> None:
        x0 = dataset.images[torch.randint(len(dataset), (batch_size,), dtype=torch.int64, device="cpu")]
        t = torch.rand(batch_size, dtype=torch.float32, device="cpu")
        eps = torch.randn(x0.shape, dtype=torch.float32, device="cpu")
        angle = (math.pi / 2 / 1.008) * t[:, None, None, None]
        x = (torch.cos(angle) * x0 + torch.sin(angle) * eps).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            predicted = module(x, t, None)
        loss = torch.nn.functional.mse_loss(predicted.float(), eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step
