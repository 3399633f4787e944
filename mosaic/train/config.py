"""The configuration of a network, and of a training: every setting that decides its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import Field

from mosaic.run.configuration import Configuration

if TYPE_CHECKING:
    import torch

__all__ = ["NetworkConfig", "TrainConfig", "TrainSettings"]


class NetworkConfig(Configuration):
    """A network, the data that it was trained on, and the noise schedule whose times it is told."""

    network: str = Field("resnet", description="Network.")
    dataset: str = Field("digits", description="Training set.")
    schedule: str = Field("cosine", description="Noise schedule.")
    network_options: dict[str, Any] = Field({}, description="Options of the network.")
    dataset_options: dict[str, Any] = Field({}, description="Options of the training set.")
    schedule_options: dict[str, Any] = Field({}, description="Options of the noise schedule.")


class TrainConfig(NetworkConfig):
    """What is trained, on what, and how. A data set may have defaults of its own (`mosaic.DataSet.training`).

    Adam, its learning rate and decay, uniform times, the batch size and 300 epochs are the paper's (Kamb & Ganguli
    2025, app. C.1). The running average of the weights is ours. The authors' released code trains with `ema=0` and
    `times="grid"`; its optimizer, AdamW with decay 0, is Adam.
    """

    epochs: int = Field(300, ge=1, le=10_000_000, description="Passes over the training set.")
    batch_size: int = Field(128, ge=1, description="Images a step.")
    learning_rate: float = Field(1e-4, gt=0, le=10, description="Adam's learning rate at the first step.")
    lr_decay: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Factor on the learning rate, from each step to the next. Default: what lets it fall to 0.7 % over "
        "the epochs, as the paper's 0.999965 does over its 300 epochs of 60,000 images.",
    )
    ema: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="Decay a step of the running average of the weights, which is what is used; less at first, "
        "(1 + n) / (10 + n) after n steps. 0: the last weights themselves.",
    )
    times: Literal["uniform", "grid"] = Field(
        "uniform",
        description="Times that are trained: uniform on [0, 1); or grid: 0, 0.001, ..., 0.999, as in the authors' "
        "released code.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of weights, order of images, times and noise.")
    device: str = Field(
        "auto", description="Torch device: auto (cuda where there is one, else cpu), cpu, cuda, mps, ..."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Precision of the network's products while it is trained; weights are always float32. auto: "
        "bfloat16 where the machine multiplies in it, else float32.",
    )

    def total_steps(self, images: int) -> int:
        """Steps of the whole training on so many images; the last step of an epoch may take fewer than `batch_size`."""
        return self.epochs * math.ceil(images / self.batch_size)


class TrainSettings(TypedDict, total=False):
    """What `mosaic.train` takes beside its arguments, for type checkers and editors."""

    # `python tests/run/test_configuration.py` writes these from the fields above.
    schedule: str
    network_options: Mapping[str, Any]
    dataset_options: Mapping[str, Any]
    schedule_options: Mapping[str, Any]
    epochs: int
    batch_size: int
    learning_rate: float
    lr_decay: float | None
    ema: float
    times: Literal["uniform", "grid"]
    seed: int
    device: str | torch.device
    precision: Literal["auto", "float32", "bfloat16"]
