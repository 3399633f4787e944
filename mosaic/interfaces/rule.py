"""Rules that the images of a data set obey, and how generated images are judged by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["VERDICTS", "Rule"]

VERDICTS = ("consistent", "different", "missing", "malformed")


@dataclass(frozen=True)
class Rule:
    """The rule that certain parts of an image all show the same thing, though they are far apart.

    Attributes
    ----------
    shows : callable
        Gives, for images (B, C, H, W), what each part shows: (B, parts), int64, an index into `kinds`; `Rule.EMPTY`
        where it shows nothing, `Rule.UNKNOWN` where it shows something that is not in the data.
    kinds : tuple of str
        What a part can show.
    """

    EMPTY = -1
    UNKNOWN = -2

    shows: Callable[[Tensor], Tensor]
    kinds: tuple[str, ...]

    @property
    def chance(self) -> float:
        """Share of consistent images, of two parts, if each part showed every kind equally often and independently."""
        return 1 / len(self.kinds)

    def judge(self, images: Tensor) -> Tensor:
        """Judge images (B, C, H, W): indices (B,), int64, into `mosaic.VERDICTS`.

        An image is malformed if any part shows something unknown, and otherwise missing if any part is empty. An image
        of whole parts is consistent if all parts show the same kind, and different if not.
        """
        return verdicts_of(self.shows(images))


def verdicts_of(shown: Tensor) -> Tensor:
    """Judge images by what their parts show (B, parts), as `Rule.judge`."""
    verdicts = torch.where((shown == shown[:, :1]).all(1), 0, 1)
    verdicts[(shown == Rule.EMPTY).any(1)] = 2
    verdicts[(shown == Rule.UNKNOWN).any(1)] = 3
    return verdicts
