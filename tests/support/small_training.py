"""A training that takes a second."""

from __future__ import annotations

from typing import Any

import mosaic

SMALL: dict[str, Any] = {
    "network_options": {"channels": 4, "blocks": 1},
    "batch_size": 5,
    "precision": "float32",
    "learning_rate": 1e-3,
    "lr_decay": 0.999965,
}


def train(dataset: mosaic.DataSet, out: str = "net", **settings: Any) -> mosaic.Checkpoint:
    """Train three epochs of three steps on the twelve images of `tiny`."""
    return mosaic.train("resnet", dataset, out=out, **{**SMALL, "epochs": 3, **settings})
