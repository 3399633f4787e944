"""What chosen pixels attend to along a flow, in machines and in networks with one layer of attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mosaic.storage.trajectory import levels_of

__all__ = ["machine_maps", "network_maps"]


def machine_maps(machine: Any, run: xr.Dataset) -> xr.Dataset:
    """What the machine `els-attention` attends to at every step of its run, in the first sample.

    Returns
    -------
    xarray.Dataset
        `alpha` (moment, pixel, height, width): what a pixel in each upper corner, where objects are, attends to; sums
        to 1.
        `moment_time` (moment).
    """
    maps = []
    for step, level in enumerate(levels_of(run)):
        _, embedding, _ = machine.field(_state(run, step), machine.dataset.images.cpu(), level, int(run["scale"][step]))
        maps.append(machine.weights_of(embedding)[0])
    return _maps(maps, run, np.arange(len(maps)))


@torch.no_grad()
def network_maps(module: Any, run: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    """What a network `resnet-attention` attends to, as `machine_maps`, at those steps of its run nearest to `times`."""
    module = module.cpu().eval()
    steps = np.abs(run["time"].values[:, None] - times).argmin(0)
    maps = []
    for step in steps.tolist():
        t = torch.tensor([float(run["time"][step])], dtype=torch.float32, device="cpu")
        field = module.field(_state(run, step), t, None)
        maps.append(module.attention.weights(field)[0])
    return _maps(maps, run, steps)


def _state(run: xr.Dataset, step: int) -> Tensor:
    return torch.from_numpy(run["state"].isel(sample=slice(1), step=step).values)


def _maps(weights: list[Tensor], run: xr.Dataset, steps: np.ndarray) -> xr.Dataset:
    """Take from weights (P, P) at every moment the two rows of the pixels shown."""
    height, width = run.sizes["height"], run.sizes["width"]
    pixels = [(height // 8, 1), (height // 8, width - 2)]
    alpha = torch.stack(weights).reshape(-1, height, width, height, width)
    return xr.Dataset(
        {
            "alpha": (("moment", "pixel", "height", "width"), np.stack([alpha[:, i, j].numpy() for i, j in pixels], 1)),
            "moment_time": ("moment", run["time"].values[steps]),
        },
        {"pixel": [f"row {i}, column {j}" for i, j in pixels]},
    )
