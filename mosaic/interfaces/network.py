"""Networks: architectures that can be trained as score models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import nn

from mosaic.interfaces.options import Options as PluginOptions

__all__ = ["Network"]


class Network(ABC):
    """Interface of a network plugin; subclass it, give it a `name` and register it.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[mosaic.Options]
        The network's options; where it has `class_conditional`, that decides whether it is given labels.
    """

    name: ClassVar[str] = ""
    Options: ClassVar[type[PluginOptions]] = PluginOptions

    def __init__(self, options: PluginOptions | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()

    @abstractmethod
    def build(self, channels: int, classes: int) -> nn.Module:
        """Build an untrained eps-prediction module.

        Parameters
        ----------
        channels : int
            Channels of the images.
        classes : int
            Number of classes, 0 for a network without.

        Returns
        -------
        torch.nn.Module
            Called as module(x, t, labels) with x (B, C, H, W), the schedule's times t (B,) in [0, 1] and labels (B,),
            int64 (None without classes); gives eps (B, C, H, W). While it is trained it may draw from torch's global
            generator, which each step seeds; after eval() it must not.
        """

    def receptive_field(self) -> int | None:
        """Side, in pixels, of the smallest centred window that holds all a pixel of eps depends on; None if all do."""
        return None

    def check(self, shape: tuple[int, int, int]) -> None:  # noqa: B027 - a network need not refuse anything
        """Refuse images of a shape (C, H, W) that the network cannot take.

        Raises
        ------
        UsageError
            With the shape, what is allowed, and how to fix it.
        """
