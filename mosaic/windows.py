"""Windows of an image and the bands of pixels whose windows hang over the border alike.

Along one axis of `size` pixels a window of k pixels centred at i hangs max(0, r - i) pixels over the one
end and max(0, i + r - (size - 1)) over the other, r = k // 2. Two windows may be compared if they hang over
alike (THEORY "zeros"; Kamb & Ganguli 2025, sec. 3.4 and app. B.2). A `Band` is one such class of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mosaic.errors import UsageError

__all__ = ["Band", "axis_bands", "box_matrix", "check_window_size", "cut_windows", "take"]


def check_window_size(k: int) -> None:
    """Refuse what is no window size."""
    if k < 1 or k % 2 == 0:
        raise UsageError(f"Scale {k} is no window size: it must be odd and at least 1.")


def check_boundary(boundary: str, known: tuple[str, ...]) -> None:
    """Refuse an unknown boundary."""
    if boundary not in known:
        raise UsageError(f"There is no boundary '{boundary}' here; there are: {', '.join(known)}.")


@dataclass(frozen=True)
class Band:
    """Pixels along one axis whose windows are compared with one set of candidate windows.

    Attributes
    ----------
    pixels : range
        The centres of the noisy image's windows.
    frame : tuple of int
        The indices that cutting those windows one by one out of the axis runs through.
    width : int
        Length of the part of a window that lies in the image.
    candidates : range
        The centres of the training images' windows.
    candidate_frame : tuple of int
        As `frame`, for the training images.
    centre : int
        Where in the part of a window that lies in the image its centre is.
    """

    pixels: range
    frame: tuple[int, ...]
    width: int
    candidates: range
    candidate_frame: tuple[int, ...]
    centre: int

    def split_pixels(self, length: int) -> list[Band]:
        """Divide into bands of at most `length` pixels with the same candidates."""
        return [
            replace(self, pixels=self.pixels[i : i + length], frame=self.frame[i : i + length + self.width - 1])
            for i in range(0, len(self.pixels), length)
        ]

    def split_candidates(self, length: int) -> list[Band]:
        """Divide into bands of the same pixels with at most `length` candidates."""
        return [
            replace(
                self,
                candidates=self.candidates[i : i + length],
                candidate_frame=self.candidate_frame[i : i + length + self.width - 1],
            )
            for i in range(0, len(self.candidates), length)
        ]

    @property
    def fixed(self) -> bool:
        """Whether a pixel of this band meets only the candidate at its own place."""
        return len(self.candidates) == 1


def axis_bands(size: int, k: int, boundary: str) -> list[Band]:
    """Divide an axis into bands.

    Parameters
    ----------
    size : int
        Pixels along the axis.
    k : int
        Odd window size.
    boundary : {"zeros", "circular", "valid"}
        `zeros`: one band of interior pixels and one of each pixel nearer than k // 2 to an end.
        `circular`: all pixels against all, wrapping. `valid`: all pixels, wrapping, against the windows
        that lie wholly inside.

    Raises
    ------
    UsageError
        If k is no window size or `boundary` is unknown; for `valid` also if k exceeds the size.
    """
    check_window_size(k)
    check_boundary(boundary, ("zeros", "circular", "valid"))
    if boundary == "valid" and k > size:
        raise UsageError(
            f"No window of {k} pixels lies inside {size} ('valid'); use smaller ones, or another boundary."
        )
    radius = k // 2
    interior, whole = range(radius, size - radius), range(size)
    wrapped = tuple(i % size for i in range(-radius, size + radius))
    if boundary == "circular":
        return [Band(whole, wrapped, k, whole, wrapped, radius)]
    if boundary == "valid":
        return [Band(whole, wrapped, k, interior, tuple(whole), radius)]
    bands = [Band(interior, tuple(whole), k, interior, tuple(whole), radius)] if interior else []
    for i in whole:
        if i not in interior:
            inside = tuple(range(max(0, i - radius), min(size, i + radius + 1)))
            bands.append(Band(range(i, i + 1), inside, len(inside), range(i, i + 1), inside, i - inside[0]))
    return bands


def cut_windows(images: Tensor, rows: tuple[int, ...], cols: tuple[int, ...], height: int, width: int) -> Tensor:
    """Cut all height x width windows out of the frame rows x cols of images (n, C, H, W).

    Returns
    -------
    Tensor (n * windows, C * height * width)
        Image by image, row by row.
    """
    frame = take(take(images, 2, rows), 3, cols)
    windows = frame.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5)
    return windows.reshape(-1, images.shape[1] * height * width)


def take(images: Tensor, axis: int, indices: tuple[int, ...]) -> Tensor:
    """Take indices along an axis: a view where they are consecutive."""
    start = indices[0]
    if indices == tuple(range(start, start + len(indices))):  # a view will do
        return images.narrow(axis, start, len(indices))
    return images.index_select(axis, torch.tensor(indices, device=images.device))


def box_matrix(size: int, k: int, boundary: str, like: Tensor) -> Tensor:
    """Matrix (size, size) whose product with an axis sums each pixel's window, of `like`'s dtype and device.

    Entry (i, j) counts how often pixel j occurs in the window of pixel i: for `circular` windows longer than
    the axis more than once. Sums of a window as two small products: exact terms, no running differences.
    """
    check_window_size(k)
    check_boundary(boundary, ("zeros", "circular"))
    counts = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(i - k // 2, i + k // 2 + 1):
            if boundary == "circular":
                counts[i, j % size] += 1
            elif 0 <= j < size:
                counts[i, j] += 1
    return counts.to(device=like.device, dtype=like.dtype)
