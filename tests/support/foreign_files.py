"""Files of weights as other programs save them, and what their networks give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import foreign_networks as oracle
import numpy as np
import torch
from torch import Tensor

import mosaic

STORED = Path(__file__).parents[1] / "stored" / "foreign" / "outputs.npz"

TIMES, LABELS = (0.1, 0.83), (2, 0)  # of the two samples of a case

# Shapes of the weights, and of x; outputs of the case NAME are stored as NAME_PADDING, NAME_SIGMA or NAME_TIMESTEP.
CASES: dict[str, tuple[oracle.Shapes, tuple[int, int, int]]] = {
    "resnet": (oracle.resnet_shapes(1, 16, 3), (1, 8, 8)),
    "unet": (oracle.unet_shapes(3, (8, 12, 16), 3), (3, 8, 8)),
    "edm": (oracle.edm_shapes(16, 3, 16, (1, 2), 2, (8,), 3, 9), (3, 16, 16)),
    "ddpm": (oracle.ddpm_shapes(1, 32, (1, 2), 1, (1,)), (1, 8, 8)),
}

SIGMAS, TIMESTEPS = (0.05, 0.4, 20.0), (0, 499, 999)


def input_of(shape: tuple[int, int, int]) -> Tensor:
    """Two samples x (float32) by a formula."""
    index = torch.arange(1, 2 * math.prod(shape) + 1, dtype=torch.float64)
    return (1.3 * torch.sin(7.31 * index)).reshape(2, *shape).float()


def stored(name: str) -> Tensor:
    """What the other program's own module gave."""
    with np.load(STORED) as outputs:
        return torch.from_numpy(outputs[name])


def images_like(shape: tuple[int, int, int], classes: int = 0) -> mosaic.DataSet:
    """Six images of a shape, with classes if there are some."""
    images = torch.linspace(-1, 1, 6 * math.prod(shape)).reshape(6, *shape)
    labels = torch.arange(6) % classes if classes else None
    return mosaic.DataSet("made", images, labels, tuple("abcdef"[:classes]))


def case(name: str) -> tuple[dict[str, Tensor], Tensor, mosaic.DataSet]:
    """Weights, input and data set of a case."""
    shapes, shape = CASES[name]
    has_classes = any("class_embeddings" in key or "map_label" in key for key in shapes)
    return oracle.weights_of(shapes), input_of(shape), images_like(shape, 3 if has_classes else 0)


def converted(weights: Mapping[str, Any], data: mosaic.DataSet, **settings: Any) -> mosaic.Checkpoint:
    """Save weights, or a mapping with them in an entry, as torch does, and convert the file."""
    torch.save(weights, "weights.pt")
    return mosaic.convert("weights.pt", data, **{"out": "net", **settings})
