"""Networks: architectures that can be trained as score models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import nn

from mosaic.options import Options as PluginOptions

__all__ = ["Network"]


class Network(ABC):
    """Interface of a network plugin; subclass it, give it a `name` and register it."""

    name: ClassVar[str] = ""
    Options: ClassVar[type[PluginOptions]] = PluginOptions

    def __init__(self, options: PluginOptions | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()

    @abstractmethod
    def build(self, channels: int, classes: int) -> nn.Module:
        """Build an untrained eps-prediction module for images of `channels` (and `classes`, 0 for none)."""
