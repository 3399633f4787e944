"""Networks: architectures that can be trained as score models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from mosaic.interfaces.function_model import Convention
from mosaic.interfaces.options import Options as PluginOptions

__all__ = ["ForeignWeights", "Network"]


@dataclass(frozen=True)
class ForeignWeights:
    """What weights that another program saved are, to a network plugin that knows them.

    Attributes
    ----------
    family : str
        Whose they are, for messages: "the released code of Kamb & Ganguli 2025".
    options : mapping
        The network's options, as far as names and shapes of the weights tell them.
    channels, classes : int
        What `Network.build` is given.
    sides : tuple of int, optional
        Height and width of the images, where the weights tell them.
    unseen : collection of str
        Options that the weights do not tell: the user gives them, or their defaults are assumed.
    convention : Convention
        What the network is told of the noise, and what it predicts.
    schedule : str
        Noise schedule whose times it is told, or that suits it; the user may give another.
    rename : callable
        From a name in the `state_dict` of what `build` gives to that of the same weight in the file.
    unused : collection of str
        Names in the file that the network has no use for.
    """

    family: str
    options: Mapping[str, Any]
    channels: int
    classes: int = 0
    sides: tuple[int, int] | None = None
    unseen: Collection[str] = ()
    convention: Convention = field(default_factory=Convention)
    schedule: str = "cosine"
    rename: Callable[[str], str] = str
    unused: Collection[str] = ()


class Network(ABC):
    """Interface of a network plugin; subclass it, give it a `name` and register it.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[mosaic.Options]
        The network's options; where it has `class_conditional`, that decides whether it is given labels.
    references : tuple of str
        BibTeX entries of what it computes; `mosaic cite` prints them for results that used it.
    convention : Convention
        What its module is told of the noise, in numbers (not a level), and what it gives. It is trained here by what it
        is told if it gives eps at the time t or at a timestep; others are for `mosaic.convert`.
    """

    name: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()
    convention: ClassVar[Convention] = Convention()
    Options: ClassVar[type[PluginOptions]] = PluginOptions

    def __init__(self, options: PluginOptions | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()

    @abstractmethod
    def build(self, channels: int, classes: int) -> nn.Module:
        """Build an untrained module.

        Parameters
        ----------
        channels : int
            Channels of the images.
        classes : int
            Number of classes, 0 for a network without.

        Returns
        -------
        torch.nn.Module
            Called as module(x, t, labels) with x (B, C, H, W), what `convention` says t (B,) is, by default the
            schedule's times in [0, 1], and labels (B,), int64 (None without classes); gives what it says, by default
            eps (B, C, H, W). While it is trained it may draw from torch's global
            generator, which each step seeds; after eval() it must not.
        """

    @classmethod
    def recognise(cls, weights: Mapping[str, Tensor]) -> ForeignWeights | None:
        """Say what the weights of another program are, for `mosaic.convert`; None if they are not of this network.

        Parameters
        ----------
        weights : mapping
            Tensors by name, on the CPU. Some may be missing: names and shapes are compared with those of the network
            afterwards.
        """
        return None

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
