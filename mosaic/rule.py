"""Rules that the images of a data set obey, and what becomes of them in generated images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Rule"]


@dataclass(frozen=True)
class Rule:
    """A rule that every image of a data set obeys, such as that two distant parts agree.

    Attributes
    ----------
    judge : callable
        Gives, for images (B, C, H, W), the index (B,), int64, into `verdicts` of what each is.
    verdicts : tuple of str
        What an image can be; the first is `consistent`, the others say how the rule is broken.
    chance : float
        Share of consistent images if the parts that must agree were independent, but each well formed.
    """

    judge: Callable[[Tensor], Tensor]
    verdicts: tuple[str, ...]
    chance: float
