"""Exact ties: which training windows equal a given one, whatever an engine's rounding makes of them.

Most windows of plain images have equals (blank ones above all), and a posterior's best candidate is then one of many.
The convention (first image, row and column of all equal ones; how many there are) is kept here: a hash of 64 bits
of their pixels distinguishes windows, in one pass over the training set that remembers the windows asked for only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from mosaic.engine.posterior import Posterior
from mosaic.errors import MosaicError
from mosaic.interfaces.attribution import Source

__all__ = ["resolve_image_ties", "resolve_window_ties", "window_keys"]

CHUNK = 2**18  # windows hashed at a time: what a processor's cache holds
TABLE = 2**20  # entries of the table that rules out most windows not asked for
NONE = torch.iinfo(torch.int64).max


def window_keys(images: Tensor, k: int, wraps: bool, weights: Tensor | None = None) -> Tensor:
    """Name the k x k window about every pixel, so that equal windows have equal names.

    Parameters
    ----------
    images : Tensor (N, C, H, W)
        Images.
    k : int
        Window size, odd.
    wraps : bool
        Whether windows wrap round the border; else they hang over it, and are equal only to those that do so alike.
    weights : Tensor (N, H, W), optional
        What windows count for: those that count differently are different.

    Returns
    -------
    Tensor (N, H, W), int64
        A hash of 64 bits of each window. Two windows share theirs by chance once in 1e18 pairs or so.
    """
    codes = _codes(images)
    r, (channels, height, width) = k // 2, codes.shape[1:]
    if wraps:
        rows, cols = (torch.arange(-r, size + r, device=codes.device) % size for size in (height, width))
        codes = codes[:, :, rows][:, :, :, cols]
    else:
        codes = functional.pad(codes, (r, r, r, r))  # no pixel has the code 0
    factors = _factors(channels + 2 * k, images.device)
    # Sums over a window of codes times a factor of each channel, row and column: one axis after the other.
    across, along, sideways = factors.split([channels, k, k])
    flat = (codes * across[:, None, None]).sum(1)
    tall = _summed([flat[:, i : i + height] for i in range(k)], along)
    keys = _summed([tall[:, :, j : j + width] for j in range(k)], sideways)
    if weights is not None:
        keys = keys + _codes(weights) * factors[0]
    return keys


def resolve_window_ties(
    posterior: Posterior,
    images: Tensor,
    k: int,
    wraps: bool,
    aligned: bool = False,
    weights: Tensor | None = None,
) -> Source:
    """Find the first of the windows that equal a pixel's best one, and how many there are.

    Parameters
    ----------
    posterior : Posterior (B, H, W)
        Over windows of `images`, with diagnostics.
    images, k, wraps, weights
        As for `window_keys`: the candidates.
    aligned : bool
        Whether windows are candidates at their own place only (LS).
    """
    image, row, column = posterior.candidate()
    height, width = images.shape[2:]

    def keys_of(sources: slice | Tensor) -> Tensor:
        return window_keys(images[sources], k, wraps, None if weights is None else weights[sources]).flatten(1)

    wanted, place = torch.empty_like(image), row * width + column
    for sources in image.unique().split(max(1, CHUNK // (height * width))):
        mine = torch.isin(image, sources)
        wanted[mine] = keys_of(sources)[torch.searchsorted(sources, image[mine]), place[mine]]
    counted = _count_in_place if aligned else _count
    places, count = (column.view_as(wanted) for column in counted(wanted, len(images), height * width, keys_of))
    return Source(places // (height * width), places // width % height, places % width, count)


def resolve_image_ties(posterior: Posterior, images: Tensor, translates: bool) -> Source:
    """Find the first of the images, or their circular translates, that equal the best one, and how many there are.

    Parameters
    ----------
    posterior : Posterior (B, 1, 1)
        Over whole images, with diagnostics.
    images : Tensor (N, C, H, W)
        The training images.
    translates : bool
        Whether translates are candidates, too.

    Returns
    -------
    Source (B, 1, 1)
        Row and column of the pixel that came to the first pixel.
    """
    sums = _sums_of_codes(images) if translates else None
    rows = []
    for source, i, j in torch.stack(posterior.candidate())[:, :, 0, 0].T.tolist():
        wanted = images[source].roll((-i, -j), (1, 2))
        if sums is not None:
            places = _translates_like(wanted, images, torch.nonzero(sums == sums[source])[:, 0])
        else:
            places = _images_like(wanted, images)
        equal = [
            place for place in places if torch.equal(images[place[0]].roll((-place[1], -place[2]), (1, 2)), wanted)
        ]
        if not equal:
            raise MosaicError(
                "The best candidate of this posterior is a translated image; resolve its ties with translates=True."
            )
        rows.append((*equal[0], len(equal)))
    return Source(*(column.view(-1, 1, 1) for column in torch.tensor(rows, device=images.device).T))


def _sums_of_codes(images: Tensor) -> Tensor:
    """A number (N,) of each image that its translates share: only images with the same can be each other's."""
    parts = images.split(max(1, CHUNK // images[0].numel()))
    return torch.cat([_mixed(_codes(part)).flatten(1).sum(1) for part in parts])


def _images_like(wanted: Tensor, images: Tensor) -> list[tuple[int, int, int]]:
    """Places of the images that are equal to an image (C, H, W) in their central pixels, so may be equal to it."""
    rows, cols = (slice(size // 2 - min(2, size // 2), size // 2 + 2) for size in wanted.shape[1:])
    alike = (images[..., rows, cols] == wanted[..., rows, cols]).flatten(1).all(1)
    return [(n, 0, 0) for n in torch.nonzero(alike)[:, 0].tolist()]


def _translates_like(wanted: Tensor, images: Tensor, candidates: Tensor) -> list[tuple[int, int, int]]:
    """Image, row and column of all translates that may be equal to an image (C, H, W), in this order.

    Of images with the same pixels those are equal whose product with it is its square: circular correlations, by FFT.
    """
    height, width = wanted.shape[1:]
    spectrum, square = torch.fft.rfft2(wanted.double()).conj(), float(wanted.double().square().sum())
    places = []
    for numbers in candidates.split(max(1, CHUNK // images[0].numel())):
        products = torch.einsum("cyx,ncyx->nyx", spectrum, torch.fft.rfft2(images[numbers].double()))
        correlation = torch.fft.irfft2(products, s=(height, width))
        near = torch.nonzero(correlation >= square - 1e-8 * (1 + square))
        places += [(int(numbers[n]), i, j) for n, i, j in near.tolist()]
    return places


def _count(wanted: Tensor, count: int, size: int, keys_of: Callable[[slice], Tensor]) -> tuple[Tensor, Tensor]:
    """Find the first place of each wanted key among `count` images of `size` windows, and how often it comes."""
    known, inverse = wanted.unique(return_inverse=True)
    table = torch.zeros(TABLE, dtype=torch.bool, device=wanted.device)
    table[known & (TABLE - 1)] = True
    counts = known.new_zeros(len(known) + 1)
    first = torch.full_like(counts, NONE)
    length = max(1, CHUNK // size)
    for begin in range(0, count, length):
        keys = keys_of(slice(begin, begin + length)).flatten()
        places = torch.nonzero(table[keys & (TABLE - 1)])[:, 0]
        candidates = keys[places]
        index = torch.searchsorted(known, candidates).clamp_max(len(known) - 1)
        index = torch.where(known[index] == candidates, index, len(known))  # the last entry is of those not asked for
        counts += torch.bincount(index, minlength=len(counts))
        new = first[index] == NONE  # those found in an earlier chunk were found at an earlier place
        first.scatter_reduce_(0, index[new], places[new] + begin * size, "amin")
    return first[inverse], counts[inverse]


def _count_in_place(wanted: Tensor, count: int, size: int, keys_of: Callable[[slice], Tensor]) -> tuple[Tensor, Tensor]:
    """As `_count`, of keys (B, size) that are each looked for at their own place in the images."""
    wanted = wanted.flatten(1)
    counts, first = torch.zeros_like(wanted), torch.full_like(wanted, NONE)
    length = max(1, CHUNK // size)
    for begin in range(0, count, length):
        keys = keys_of(slice(begin, begin + length))
        for keys_wanted, number, place in zip(wanted, counts, first, strict=True):
            equal = keys == keys_wanted
            matches = equal.sum(0)
            number += matches
            new = torch.nonzero((place == NONE) & (matches > 0))[:, 0]
            place[new] = (begin + equal[:, new].byte().argmax(0)) * size + new
    return first, counts


def _codes(values: Tensor) -> Tensor:
    """A code of 64 bits, never 0, for each value; equal for equal values, also for 0 and -0."""
    wide = torch.int64 if values.dtype == torch.float64 else torch.int32
    values = values if values.dtype == torch.float64 else values.float()
    return _mixed((values + 0.0).contiguous().view(wide).to(torch.int64)) | 1


def _summed(parts: list[Tensor], factors: Tensor) -> Tensor:
    """Sum of the parts, each times its factor."""
    total = torch.zeros_like(parts[0])
    for part, factor in zip(parts, factors.tolist(), strict=True):
        total.add_(part, alpha=factor)
    return total


def _mixed(codes: Tensor) -> Tensor:
    """Spread the differences of codes over all their bits: multiply and fold, twice (Steele, Lea & Flood 2014)."""
    for factor in _MIXING:
        codes = codes * factor
        codes = codes ^ ((codes >> 31) & 0x1FFFFFFFF)  # no copies of the sign
    return codes


_MIXING = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)  # those of SplitMix64, as signed numbers


def _factors(count: int, device: torch.device) -> Tensor:
    """Odd numbers of 64 bits, always the same."""
    generator = torch.Generator().manual_seed(0)
    limits = torch.iinfo(torch.int64)
    return (torch.randint(limits.min, limits.max, (count,), generator=generator) | 1).to(device)
