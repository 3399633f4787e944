"""Metrics: pure functions of arrays that give one value per sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from mosaic.options import Options as PluginOptions

__all__ = ["Metric"]


class Metric(ABC):
    """Interface of a metric plugin; subclass it, give it a `name` and register it.

    Attributes
    ----------
    name : str
        The name on the command line.
    range : (float, float)
        Lowest and highest value it can take.
    higher_is_better : bool
        Whether a larger value means closer agreement.
    """

    name: ClassVar[str] = ""
    Options: ClassVar[type[PluginOptions]] = PluginOptions
    range: ClassVar[tuple[float, float]]
    higher_is_better: ClassVar[bool]

    def __init__(self, options: PluginOptions | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()

    @abstractmethod
    def __call__(self, images: Tensor, reference: Tensor) -> Tensor:
        """Compare (B, C, H, W) images with a reference of the same shape: (B,) values."""
