"""Views of images that are read in pieces: some of them, or all with their pixels moved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mosaic.interfaces.image_source import ImageSource

__all__ = ["Rearranged", "Selection"]


class Selection(ImageSource):
    """Some of the images of a source."""

    def __init__(self, source: ImageSource, indices: NDArray[np.int64]) -> None:
        super().__init__((len(indices), *source.shape[1:]), source.stored, source.range)
        self._source, self._chosen = source, indices
        self.dtype, self.device, self._derived = source.dtype, source.device, source._derived
        self._key = hashlib.blake2b(source._key + indices.tobytes(), digest_size=16).digest()

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Read the chosen images from `first` to before `last`."""
        return self.take(np.arange(first, last))

    def take(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Read some of the chosen images; consecutive ones at once."""
        chosen = self._chosen[indices]
        if len(chosen) and np.array_equal(chosen, np.arange(chosen[0], chosen[0] + len(chosen))):
            return self._source.read(int(chosen[0]), int(chosen[-1]) + 1)
        return self._source.take(chosen)

    @property
    def identity(self) -> str | None:
        """That of the source, and the choice."""
        own = self._source.identity
        return None if own is None else f"{own} {self._key.hex()}"


class Rearranged(ImageSource):
    """The images of a source, each with its pixels moved."""

    def __init__(self, source: ImageSource, move: Callable[[Tensor], Tensor]) -> None:
        super().__init__(source.shape, source.stored, source.range)
        self._source, self._move = source, move
        self.dtype, self.device = source.dtype, source.device

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Read them as they are stored."""
        return self._source.read(first, last)

    def take(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Read them as they are stored."""
        return self._source.take(indices)

    def values(self, stored: NDArray[Any]) -> Tensor:
        """Give numbers, their pixels moved."""
        return self._move(self._source.values(stored)).contiguous()

    def extremes(self) -> tuple[float, float]:
        """Those of the source: moves do not change values."""
        return self._source.extremes()

    def _limits(self) -> tuple[float, float]:
        return self._source.stored_limits()
