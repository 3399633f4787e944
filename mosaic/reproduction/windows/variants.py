"""The windows that are compared, and the scales that each may have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["BASELINE", "VARIANTS", "Variant", "boxes", "scales_near", "variants_for"]

LARGEST_BOX = 17
RATIO, SMALLEST, LARGEST = 1.2, 1.5, 28.0  # of the scales of soft windows
NEAR = 2.0  # the factor within which the scale of a soft window is sought from that of the best box
SOFT_TEMPERATURE = 0.85  # that of soft-els
ALL = 99  # more pixels than windows reach


@dataclass(frozen=True)
class Variant:
    """A choice of windows.

    Attributes
    ----------
    options : mapping
        Options of the score model `filtered`.
    zeros_only : bool
        Whether it is one only where there is nothing beyond the border.
    """

    options: Mapping[str, Any]
    zeros_only: bool = False

    @property
    def is_box(self) -> bool:
        """Whether its scales are odd numbers."""
        return bool(self.options["window"] == "box")


def _box(*, zeros_only: bool = False, **options: Any) -> Variant:
    return Variant({"window": "box", **options}, zeros_only)


def _soft(*, zeros_only: bool = False, **options: Any) -> Variant:
    return Variant({"window": "soft", "temperature": SOFT_TEMPERATURE, **options}, zeros_only)


# Profiles of other exponents are cut off where they weigh as much as a Gaussian at its cut-off, 2.5 widths.
EQUAL = 2.5**2
BASELINE = "hard"
VARIANTS = {
    BASELINE: _box(),  # ELS
    "hard, border 1 w": _box(border=1, zeros_only=True),  # the border of soft ELS
    "hard, border 0": _box(border=0, zeros_only=True),
    "soft": _soft(),  # soft ELS
    "soft, border as far as windows reach": _soft(border=10, border_limit=ALL, zeros_only=True),
    "soft, border 1 w without limit": _soft(border_limit=ALL, zeros_only=True),
    "soft, border 0": _soft(border=0, zeros_only=True),
    "quartic": _soft(exponent=4, cutoff=EQUAL ** (1 / 4)),
    "exponential": _soft(exponent=1, cutoff=EQUAL),
    "tall": _soft(aspect=1.5),
    "wide": _soft(aspect=1 / 1.5),
    "mixture": _soft(mixture=1.5),
    "hard mixture": _box(mixture=1.5),
    "mirrored": _soft(mirrored=True),
    "cooler, T = 0.7": _soft(temperature=0.7),
    "warmer, T = 1": _soft(temperature=1.0),
    "hard, T = 0.85": _box(temperature=0.85),
    "hard, T = 1.2": _box(temperature=1.2),
}


def variants_for(boundary: str) -> list[str]:
    """Names of the variants of a row whose windows have this boundary."""
    return [name for name, variant in VARIANTS.items() if boundary == "zeros" or not variant.zeros_only]


def boxes(side: int) -> tuple[int, ...]:
    """Scales of hard windows in images whose shorter side is `side`: odd numbers up to 17."""
    return tuple(range(1, min(LARGEST_BOX, side) + 1, 2))


def scales_near(best: float) -> tuple[float, ...]:
    """Scales of soft windows where the best hard window has `best` pixels.

    They are a fifth apart, from 1.5 to 28; only those within a factor of 2 of `best`: others are far from the least
    error, and wide ones take long.
    """
    count = round(math.log(LARGEST / SMALLEST) / math.log(RATIO)) + 1
    scales = [round(scale, 6) for scale in np.geomspace(SMALLEST, LARGEST, count).tolist()]
    return tuple(scale for scale in scales if best / NEAR <= scale <= best * NEAR)
