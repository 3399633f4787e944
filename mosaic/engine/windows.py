"""Windows of an image and the bands of pixels whose windows hang over the border alike.

On an axis of `size` pixels, a window of k pixels centred at i reaches max(0, r - i) pixels beyond one end and
max(0, i + r - (size - 1)) beyond the other, r = k // 2. With boundary `zeros`, two windows may be compared if they
reach equally far beyond both ends (Kamb & Ganguli 2025, sec. 3.4 and app. B.2). A `Band` is one such class of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mosaic.errors import UsageError

__all__ = [
    "Band",
    "Profile",
    "WindowAxis",
    "check_window_size",
    "cut_windows",
    "frame_of",
    "profiles_of",
    "window_axis",
    "window_sums",
]

Profile = Sequence[float] | tuple[Sequence[float], Sequence[float]]
"""Weights of a soft window of k pixels along both axes; or along each, of its rows first."""


def profiles_of(profile: Profile | None) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """Give the profile along rows and that along columns; None where all pixels count once.

    Raises
    ------
    UsageError
        If there are several profiles, but not two.
    """
    if profile is None or len(profile) == 0 or not isinstance(profile[0], Sequence):
        return profile, profile  # type: ignore[return-value]
    if len(profile) != 2:
        raise UsageError(f"A profile is one of both axes, or a pair (rows, columns), not {len(profile)} of them.")
    return profile[0], profile[1]  # type: ignore[return-value]


def check_window_size(k: float) -> None:
    """Refuse an invalid window size.

    Raises
    ------
    UsageError
        Unless k is odd and at least 1.
    """
    if k < 1 or k % 2 != 1:
        raise UsageError(f"Scale {k} is not a valid window size: it must be odd and at least 1.")


def check_boundary(boundary: str, known: tuple[str, ...]) -> None:
    """Refuse a boundary that is not among the `known` ones.

    Raises
    ------
    UsageError
        With the known ones.
    """
    if boundary not in known:
        raise UsageError(f"There is no boundary '{boundary}' here; there are: {', '.join(known)}.")


@dataclass(frozen=True)
class Band:
    """Neighbouring pixels along one axis whose windows are compared with one set of neighbouring candidates.

    Attributes
    ----------
    pixels : range
        The centres of the noisy image's windows.
    start : int
        Where in the noisy frame of the axis the first of these windows begins; the others follow one by one.
    width : int
        Length of the part of a window that lies in the frame.
    candidates : range
        The centres of the training images' windows.
    candidate_start : int
        As `start`, in the training images' frame.
    centre : int
        Where in that part of a window its centre is.
    """

    pixels: range
    start: int
    width: int
    candidates: range
    candidate_start: int
    centre: int

    def split_pixels(self, length: int) -> list[Band]:
        """Divide into bands of at most `length` pixels with the same candidates."""
        return [
            replace(self, pixels=self.pixels[i : i + length], start=self.start + i)
            for i in range(0, len(self.pixels), length)
        ]

    def split_candidates(self, length: int) -> list[Band]:
        """Divide into bands of the same pixels with at most `length` candidates."""
        return [
            replace(self, candidates=self.candidates[i : i + length], candidate_start=self.candidate_start + i)
            for i in range(0, len(self.candidates), length)
        ]

    def aligned(self) -> list[Band]:
        """Divide into bands of one pixel, whose only candidate is at its own place."""
        return [
            replace(pixel, candidates=pixel.pixels, candidate_start=self.candidate_start + pixel.start - self.start)
            for pixel in self.split_pixels(1)
        ]


@dataclass(frozen=True)
class WindowAxis:
    """All windows along one axis.

    Attributes
    ----------
    noisy_frame, frame : tuple of int
        The pixels of the noisy image, and of a training image, that windows are cut from: the axis, or the axis
        with what wraps around it, or with zeros, which are -1 here.
    bands : list of Band
        Every pixel of the axis is in one band.
    profile : tuple of float, optional
        How much the k pixels of a window count; None where all count 1.
    """

    noisy_frame: tuple[int, ...]
    frame: tuple[int, ...]
    bands: list[Band]
    profile: tuple[float, ...] | None = None

    @property
    def pairs(self) -> int:
        """Number of pairs of a pixel and one of its candidates."""
        return sum(len(band.pixels) * len(band.candidates) for band in self.bands)

    def profile_in(self, band: Band) -> tuple[float, ...]:
        """Weights of the pixels of a band's windows that lie in the frame."""
        if self.profile is None:
            return (1.0,) * band.width
        before = len(self.profile) // 2 - band.centre  # pixels of a window before the frame
        return self.profile[before : before + band.width]


def window_axis(
    size: int,
    k: int,
    boundary: str,
    *,
    aligned: bool = False,
    profile: Sequence[float] | None = None,
    border: int | None = None,
) -> WindowAxis:
    """Divide an axis into bands.

    Parameters
    ----------
    size : int
        Pixels along the axis.
    k : int
        Odd window size.
    boundary : {"zeros", "circular", "valid"}
        `zeros`: one band of interior pixels and one of each pixel nearer than `border` to an end.
        `circular`: all pixels against all, wrapping. `valid`: all pixels, wrapping, against the windows
        that lie wholly inside.
    aligned : bool
        Whether the only candidate of a pixel is at its own place (LS); not for `valid`.
    profile : sequence of float, optional
        How much each of the k pixels of a window counts, positive; all 1 by default.
    border : int, optional
        For `zeros`, by default k // 2: windows that hang over then have candidates that do so alike. With less, windows
        that hang over by up to k // 2 - border pixels count as interior, and hold zeros there, noisy or not.

    Raises
    ------
    UsageError
        If k is not a window size or `boundary` is unknown; for `valid` also if k exceeds the size; if the profile has
        another length, or weights that are not positive and finite.
    """
    check_window_size(k)
    check_boundary(boundary, ("zeros", "circular") if aligned else ("zeros", "circular", "valid"))
    if boundary == "valid" and k > size:
        raise UsageError(
            f"No window of {k} pixels lies inside {size} ('valid'); use smaller ones, or another boundary."
        )
    if profile is not None and not (len(profile) == k and all(0 < weight < math.inf for weight in profile)):
        raise UsageError(f"The profile of a window of {k} pixels has {k} weights, positive and finite, not {profile}.")
    radius, whole = k // 2, range(size)
    border = radius if border is None else border
    wrapped = tuple(i % size for i in range(-radius, size + radius))
    if boundary == "circular":
        axis = WindowAxis(wrapped, wrapped, [Band(whole, 0, k, whole, 0, radius)])
    elif boundary == "valid":
        axis = WindowAxis(wrapped, tuple(whole), [Band(whole, 0, k, range(radius, size - radius), 0, radius)])
    else:
        interior, padding = range(border, size - border), max(0, radius - border)
        start = border + padding - radius
        bands = [Band(interior, start, k, interior, start, radius)] if interior else []
        for i in whole:
            if i not in interior:
                place = i + padding  # in the frame
                first, last = max(0, place - radius), min(size + 2 * padding, place + radius + 1)
                bands.append(Band(range(i, i + 1), first, last - first, range(i, i + 1), first, place - first))
        frame = (-1,) * padding + tuple(whole) + (-1,) * padding
        axis = WindowAxis(frame, frame, bands)
    if profile is not None:
        axis = replace(axis, profile=tuple(map(float, profile)))
    return replace(axis, bands=[pixel for band in axis.bands for pixel in band.aligned()]) if aligned else axis


def frame_of(images: Tensor, rows: tuple[int, ...], cols: tuple[int, ...]) -> Tensor:
    """Take rows and columns of images (n, C, H, W); a view where they are consecutive."""
    return _take(_take(images, 2, rows), 3, cols)


def _take(images: Tensor, axis: int, indices: tuple[int, ...]) -> Tensor:
    start = indices[0]
    if start >= 0 and indices == tuple(range(start, start + len(indices))):
        return images.narrow(axis, start, len(indices))
    places = torch.tensor(indices, device=images.device, dtype=torch.int64)
    taken = images.index_select(axis, places.clamp_min(0))
    return taken.index_fill_(axis, torch.nonzero(places < 0)[:, 0], 0) if min(indices) < 0 else taken


def cut_windows(frame: Tensor, height: int, width: int) -> Tensor:
    """Cut all height x width windows out of a frame (n, C, rows, cols).

    Returns
    -------
    Tensor (n * windows, C, height, width)
        Image by image, row by row.
    """
    windows = frame.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5)
    return windows.reshape(-1, frame.shape[1], height, width)


def window_sums(values: Tensor, dim: int, k: int, boundary: str, profile: Sequence[float] | None = None) -> Tensor:
    """Sum of `values` over the window of k about each pixel along an axis, which has zeros beyond its ends or wraps.

    Sums of 1, 2, 4, ... neighbours add up to those of k in about 2 log2(k) passes; with a profile there are k passes.
    Every window is summed in the same order, so that equal windows have equal sums to the bit.

    Parameters
    ----------
    values : Tensor, floating
        Of any shape. It is not changed.
    dim : int
        The axis to sum along; sums over k x k windows take one call for each of two axes.
    k : int
        Window size; an even window reaches one pixel less far forward than back. Without wrapping, k may exceed the
        axis.
    boundary : {"zeros", "circular"}
        What lies beyond the ends of the axis: zeros, or its other end.
    profile : sequence of k floats, optional
        How much each pixel of a window counts; all 1 by default.

    Returns
    -------
    Tensor
        Of the shape and dtype of `values`.
    """
    size, radius = values.shape[dim], k // 2
    if boundary == "circular":
        index = torch.arange(-radius, size + radius, device=values.device, dtype=torch.int64) % size
        partial = values.index_select(dim, index)
    else:
        pad = [0, 0] * (values.ndim - 1 - dim % values.ndim) + [radius, radius]
        partial = torch.nn.functional.pad(values, pad)
    if profile is not None:
        total = torch.zeros_like(values)
        for place, weight in enumerate(profile):
            total.add_(partial.narrow(dim, place, size), alpha=weight)
        return total
    # `partial` holds sums of 1, 2, 4, ... neighbours; the binary digits of k say which of them make up a window.
    result, summed, neighbours = None, 0, 1
    while summed < k:
        if k & neighbours:
            piece = partial.narrow(dim, summed, size)
            result = piece.clone() if result is None else result.add_(piece)
            summed += neighbours
        rest = partial.shape[dim] - neighbours
        partial = partial.narrow(dim, 0, rest) + partial.narrow(dim, neighbours, rest) if summed < k else partial
        neighbours *= 2
    assert result is not None
    return result
