"""Training images that need not be in memory: read in pieces, and the same numbers as in memory to the bit."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from mosaic.disk.facts import remembered
from mosaic.errors import DataError, UsageError

__all__ = ["PASS", "ImageSource", "largest_block"]

KNOWN = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "bool": (0.0, 1.0)}
PIECE = 2**18  # values converted at a time: what fits a processor's cache
PASS = 2**20  # values read at a time where all images are
GAP = 2**16  # bytes: images nearer to each other are read together with those between them


class ImageSource(ABC):
    """N images (C, H, W) that are read in pieces, from a file for example; subclass it and define `read`.

    Slices, integers and int64 tensors of indices give images as tensors; only what they name is read. Values are those
    that the same images have in memory, to the bit. Nothing can be written to them, and several threads may read.

    Parameters
    ----------
    shape : (int, int, int, int)
        N, C, H, W, each at least 1.
    stored : dtype
        Of the pixels as `read` gives them: integers or floats.
    range : (float, float), optional
        Stored values that become -1 and 1, linearly, as float32. By default 0 and the largest value of uint8, uint16
        and bool. Floats stay as they are without one, as float32, or float64 where they are stored so.

    Attributes
    ----------
    shape : tuple of int
        (N, C, H, W).
    stored : numpy.dtype
        Of stored pixels.
    range : (float, float) or None
        As above.
    dtype : torch.dtype
        Of the images given: float32 or float64.
    device : torch.device
        Where the images given are; stored pixels become numbers on the CPU, which a GPU would round otherwise.

    Raises
    ------
    DataError
        If there are no images, or their type has no range.

    Examples
    --------
    >>> import mosaic, numpy as np
    >>> class Stripes(mosaic.ImageSource):
    ...     def read(self, first, last):
    ...         indices = np.arange(first, last)[:, None, None, None]
    ...         return np.broadcast_to(indices % 256, (last - first, *self.shape[1:])).astype(np.uint8)
    >>> dataset = mosaic.DataSet("stripes", Stripes((1_000_000, 1, 8, 8), "uint8"))
    >>> dataset.images[999_999].shape
    torch.Size([1, 8, 8])
    """

    def __init__(self, shape: Sequence[int], stored: DTypeLike, range: tuple[float, float] | None = None) -> None:
        given, self.stored = tuple(int(size) for size in shape), np.dtype(stored)
        if len(given) != 4 or min(given) < 1:
            raise DataError(f"Images of shape {given} are not N images (C, H, W) with N, C, H, W of at least 1.")
        count, channels, height, width = given
        self.shape = (count, channels, height, width)
        self.range = range or KNOWN.get(self.stored.name)
        if self.stored.kind not in "biuf" or (self.range is None and self.stored.kind != "f"):
            raise DataError(
                f"Images of {self.stored} do not say which values are black and white; give uint8, uint16 or floats, "
                "or their `range`."
            )
        if self.range is not None and not self.range[0] < self.range[1]:
            raise DataError(f"The range {self.range} of these images is not two rising numbers.")
        is_wide = self.range is None and self.stored.itemsize > 4
        self.dtype = torch.float64 if is_wide else torch.float32
        self.device = torch.device("cpu")
        self._derived: dict[tuple[str, bytes], Any] = {}  # shared by all views: by name, and the indices that they show
        self._key = b""

    @abstractmethod
    def read(self, first: int, last: int) -> NDArray[Any]:
        """Read the images from `first` to before `last`: (last - first, C, H, W), of `stored` type, in any layout."""

    def take(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Read images by their `indices` (n,), in that order; they may repeat. Neighbours are read together."""
        order = np.argsort(indices, kind="stable")
        rising = indices[order]
        near = max(1, GAP // (self.stored.itemsize * int(np.prod(self.shape[1:]))))
        most = largest_block(self, PASS)
        taken = np.empty((len(indices), *self.shape[1:]), self.stored)
        start = 0
        while start < len(rising):
            first = int(rising[start])
            end = int(np.searchsorted(rising, first + most))
            gaps = np.flatnonzero(np.diff(rising[start:end]) > near)
            end = start + int(gaps[0]) + 1 if len(gaps) else end
            taken[order[start:end]] = self.read(first, int(rising[end - 1]) + 1)[rising[start:end] - first]
            start = end
        return taken

    @property
    def identity(self) -> str | None:
        """What decides the images, such as path, size and time of change of a file: equal only for the same ones.

        What was computed of images with an identity, such as their fingerprint, is kept in the cache folder.
        """
        return None

    @property
    def ndim(self) -> int:
        """Four axes."""
        return 4

    def numel(self) -> int:
        """Count the values of all images."""
        return int(np.prod(self.shape))

    def element_size(self) -> int:
        """Bytes of a value as given."""
        return self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' x '.join(map(str, self.shape))}, stored as {self.stored}, on {self.device})"

    def __getitem__(self, key: Any) -> Tensor:
        """Read images: a slice, an integer, indices (int64, any shape), or pixels, as source[image, :, row, column]."""
        if isinstance(key, tuple):
            return self._pixels(key)
        if isinstance(key, slice):
            first, last, step = key.indices(len(self))
            if step != 1:
                return self[np.arange(first, last, step)]
            last = max(first, last)
            return self._given(self.read(first, last), last - first)
        if isinstance(key, Integral) and not isinstance(key, bool):
            place = int(self._checked(np.array([int(key)]))[0])
            return self._given(self.read(place, place + 1), 1)[0]
        indices = _as_indices(key)
        images = self._given(self.take(self._checked(indices.reshape(-1))), indices.size)
        return images.view(*indices.shape, *self.shape[1:])

    def _pixels(self, key: tuple[Any, ...]) -> Tensor:
        """Gather pixels source[image, :, row, column] (..., C) at indices that broadcast; images are read once each."""
        if len(key) != 4 or key[1] != slice(None) or any(isinstance(key[axis], slice) for axis in (0, 2, 3)):
            raise UsageError(
                "Images that are read in pieces are indexed as source[image, :, row, column], or by image."
            )
        image, row, column = np.broadcast_arrays(*(_as_indices(key[axis]) for axis in (0, 2, 3)))
        flat = self._checked(image.reshape(-1))
        own, inverse = np.unique(flat, return_inverse=True)
        pixels = torch.empty(len(flat), self.shape[1], dtype=self.dtype, device=self.device)
        length = largest_block(self, PASS)
        for first in range(0, len(own), length):
            mine = np.flatnonzero((inverse >= first) & (inverse < first + length))
            block = self._given(self.take(own[first : first + length]), len(own[first : first + length]))
            pixel = (torch.from_numpy(part.reshape(-1)[mine]).to(self.device) for part in (row, column))
            chosen = torch.from_numpy(mine).to(self.device)
            within, (down, across) = torch.from_numpy(inverse[mine] - first).to(self.device), pixel
            pixels[chosen] = block[within, :, down, across]
        return pixels.view(*image.shape, self.shape[1])

    def _checked(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count negative indices from the end, and refuse those that there are not."""
        rising = np.where(indices < 0, indices + len(self), indices)
        if len(rising) and not 0 <= rising.min() <= rising.max() < len(self):
            bad = indices[(rising < 0) | (rising >= len(self))][0]
            raise IndexError(f"There is no image {bad}: there are {len(self)}.")
        return rising

    def values(self, stored: NDArray[Any]) -> Tensor:
        """Give stored pixels (n, C, H, W) as the numbers that they stand for, on the CPU, in C order."""
        unit = np.empty(stored.shape, np.float64 if self.dtype == torch.float64 else np.float32)
        if self.range is None or self.range == (-1.0, 1.0):  # (x + 1) - 1 would round what is in range already
            with np.errstate(over="ignore"):  # becomes infinity, which is refused
                unit[...] = stored
            return torch.from_numpy(unit)
        low, high = self.range
        # In float32 where it holds all values of the type; it does not distinguish 1000000 from 1000000.01.
        precision = np.float32 if self.stored.name in KNOWN else np.float64
        half, step = precision((high - low) / 2), max(1, PIECE // int(np.prod(stored.shape[1:])))
        for first in range(0, len(stored), step):
            piece = np.subtract(stored[first : first + step], low, dtype=precision)
            piece /= half
            piece -= precision(1)
            unit[first : first + step] = piece
        return torch.from_numpy(unit)

    def _given(self, stored: NDArray[Any], count: int) -> Tensor:
        """Check what a subclass has read, of `count` images, and give it as numbers on the device."""
        if stored.shape != (count, *self.shape[1:]) or stored.dtype != self.stored:
            raise DataError(
                f"{self!r} gave {stored.dtype} of shape {stored.shape}; its `read` must give what it declares."
            )
        images = self.values(stored)
        if self.device.type == "cuda":  # copies from pinned memory need not be waited for
            return images.pin_memory().to(self.device, non_blocking=True)
        return images.to(self.device)

    def blocks(self, length: int) -> Iterator[Tensor]:
        """Read all images in order, `length` at a time: (length, C, H, W), the last block may be smaller."""
        return (self[first : first + length] for first in range(0, len(self), length))

    def derived(self, name: str, compute: Callable[[], Any]) -> Any:
        """Give what `compute` gives, of JSON, of these images; computed once, and kept where they have an identity."""
        key = name, self._key
        if key not in self._derived:
            self._derived[key] = remembered(self.identity, name, compute)
        return self._derived[key]

    def stored_limits(self) -> tuple[float, float]:
        """Least and greatest stored value, by one pass over the images; NaN if one of them is."""
        least, most = self.derived("limits", self._limits)
        return float(least), float(most)

    def _limits(self) -> tuple[float, float]:
        least, most, length = np.inf, -np.inf, largest_block(self, PASS)
        for first in range(0, len(self), length):
            block = self.read(first, min(first + length, len(self)))
            # Unlike min and max of Python, these pass NaN on.
            least, most = np.minimum(least, float(block.min())), np.maximum(most, float(block.max()))
        return float(least), float(most)

    def extremes(self) -> tuple[float, float]:
        """Least and greatest value of all images; the pass that this takes is made once."""
        ends = np.array(self.stored_limits())
        low, high = self.values(ends.astype(self.stored).reshape(2, 1, 1, 1)).flatten().tolist()
        return low, high

    def update(self, digest: Any) -> None:
        """Feed all values to a digest of hashlib, as bytes in C order."""
        for block in self.blocks(largest_block(self, PASS)):
            digest.update(block.cpu().numpy().data)

    def select(self, indices: Tensor) -> ImageSource:
        """View the images at `indices` (n,), int64 or bool, in that order; nothing is read."""
        chosen = self._checked(_as_indices(indices).reshape(-1))
        if np.array_equal(chosen, np.arange(len(self))):
            return self
        from mosaic.interfaces.image_views import Selection

        return Selection(self, chosen)

    def rearranged(self, move: Callable[[Tensor], Tensor]) -> ImageSource:
        """View all images as `move` gives blocks of them (n, C, H, W): the same values at other places of an image."""
        from mosaic.interfaces.image_views import Rearranged

        return Rearranged(self, move)

    def to(self, device: torch.device | str) -> Self:
        """Give the images on `device`, each block as it is read."""
        device = torch.empty(0, device=device, dtype=torch.float32).device  # with its number, as that of a tensor
        if device == self.device:
            return self
        moved = copy.copy(self)
        moved.device = device
        return moved

    def cpu(self) -> Self:
        """Give the images on the CPU."""
        return self.to("cpu")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        """Say what to do in place of an operation of torch on all images."""
        name = getattr(function, "__name__", str(function))
        raise UsageError(
            f"These images are read in pieces, so `{name}` cannot take them all; slice them (`images[:100]`), go over "
            "`mosaic.image_blocks(images, length)`, or read all of them into memory with `images[:]`."
        )

    if not TYPE_CHECKING:  # a type checker finds what there is not

        def __getattr__(self, name: str) -> NoReturn:
            if not name.startswith("_") and hasattr(Tensor, name):
                raise AttributeError(
                    f"These images are read in pieces and have no `{name}`; slice them (`images[:100]`), go over "
                    "`mosaic.image_blocks(images, length)`, or read all of them into memory with `images[:]`."
                )
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


def _as_indices(key: Any) -> NDArray[np.int64]:
    """Give indices as int64; of a bool tensor or array, where it is true."""
    indices = key.detach().cpu().numpy() if isinstance(key, Tensor) else np.asarray(key)
    if indices.dtype == bool and indices.ndim == 1:
        return np.flatnonzero(indices)
    if indices.dtype.kind not in "iu" and indices.size:
        raise UsageError(f"Images are chosen by integers, not by {indices.dtype}.")
    return indices.astype(np.int64)


def largest_block(images: Tensor | ImageSource, values: int) -> int:
    """How many images hold at most so many values; at least one."""
    return max(1, values // int(np.prod(images.shape[1:])))
