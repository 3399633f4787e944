"""What is checked: a plugin with its options, and small data to evaluate it on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.schedule import Level

__all__ = ["Failed", "NotApplicable", "PluginCase", "require", "small_dataset"]


class Failed(AssertionError):
    """A requirement is not met; the message says which, and by how much."""


class NotApplicable(Exception):
    """The check does not apply to this plugin."""


def require(holds: object, message: str) -> None:
    """Fail unless something holds.

    Raises
    ------
    Failed
        With the message.
    """
    if not bool(holds):
        raise Failed(message)


def small_dataset(channels: int = 1, height: int = 7, width: int = 6) -> DataSet:
    """Eleven smooth images (11, C, H, W) of three classes, range [-1, 1], no two of them alike."""
    generator = torch.Generator().manual_seed(0)
    rows, cols = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device="cpu"),
        torch.arange(width, dtype=torch.float32, device="cpu"),
        indexing="ij",
    )
    phases = torch.rand(11, channels, 2, 1, 1, generator=generator, dtype=torch.float32, device="cpu") * 6
    images = 0.7 * torch.sin(0.8 * rows + phases[:, :, 0]) * torch.cos(0.9 * cols + phases[:, :, 1]) + 0.2
    return DataSet("small", images, torch.arange(11, dtype=torch.int64, device="cpu") % 3, ("a", "b", "c"))


@dataclass(frozen=True)
class PluginCase:
    """A plugin to be checked.

    Attributes
    ----------
    plugin : type
        Its class.
    options : mapping
        Its options.
    dataset : DataSet
        Training set of a score model or metric; by default a small one with labels.
    scale : float
        Locality scale, an odd window size or any, that score models with a scale are evaluated with.
    oracle : callable, optional
        x0hat of a score model by other means: oracle(x, images, level, scale), float64 arrays (B, C, H, W) and (N, C,
        H, W), gives (B, C, H, W).
    access : DataAccess
        Where a data set may find its files.
    """

    plugin: type[Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    dataset: DataSet = field(default_factory=small_dataset)
    scale: float = 3
    oracle: Callable[[np.ndarray, np.ndarray, Level, float], np.ndarray] | None = None
    access: DataAccess = field(default_factory=DataAccess)

    def parsed(self) -> Any:
        """The plugin's options, validated, with defaults filled in.

        Raises
        ------
        UsageError
            If one cannot be used.
        """
        return self.plugin.Options.parse(self.options, self.plugin.name or self.plugin.__name__)

    def check_options(self) -> None:
        """Require that options are the same after a round trip through JSON, and that each has a description."""
        options = self.parsed()
        again = self.plugin.Options.parse(
            json.loads(json.dumps(options.model_dump(mode="json"), allow_nan=False)), "options"
        )
        require(again == options, f"options {options!r} came back from JSON as {again!r}")
        for name, value in type(options).model_fields.items():
            require(value.description, f"option '{name}' has no description, which `mosaic show` prints")

    def noisy(self, level: Level, count: int = 3, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
        """Noisy training images (count, C, H, W)."""
        images = self.dataset.images[:count].to(dtype)
        noise = torch.randn(
            images.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, device="cpu"
        )
        return level.signal * images + level.noise * noise.to(dtype)
