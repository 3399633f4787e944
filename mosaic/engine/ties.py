"""Exact ties: which training windows equal a given one, independent of how an engine rounds.

Many windows of plain images are equal (above all blank ones), and a posterior's best candidate is then one of many. By
convention it is the first of them, in the order of image, row and column; how many there are is its multiplicity. A
64-bit hash of the pixels distinguishes windows. One pass over the training set counts the windows asked for only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from mosaic.engine.posterior import Posterior
from mosaic.errors import MosaicError
from mosaic.interfaces.attribution import Source
from mosaic.interfaces.image_source import largest_block
from mosaic.interfaces.images import Images, image_blocks

__all__ = ["resolve_image_ties", "resolve_window_ties", "window_keys"]

CHUNK = 2**18  # values hashed at a time: as many as fit in a processor's cache
SEARCHED = 2**22  # values of images looked through at a time
TABLE = 2**20  # entries of the table that rules out most windows not asked for
NONE = torch.iinfo(torch.int64).max


def window_keys(
    images: Tensor, k: int, wraps: bool, weights: Tensor | None = None, border: int | None = None
) -> Tensor:
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
        Weights of the windows as candidates; windows with different weights are different.
    border : int, optional
        As of `equivariant_local_posterior`: less than k // 2 if windows hold zeros beyond the border, and only those
        about pixels nearer to it than that are different from others.

    Returns
    -------
    Tensor (N, H, W), int64
        A 64-bit hash of each window. Two different windows have the same hash about once in 1e18 pairs.
    """
    codes = _codes(images)
    r, (channels, height, width) = k // 2, codes.shape[1:]
    padded = border if border is not None and border < r else None  # windows hold zeros beyond the border
    if wraps:
        rows, cols = (
            torch.arange(-r, size + r, device=codes.device, dtype=torch.int64) % size for size in (height, width)
        )
        codes = codes[:, :, rows][:, :, :, cols]
    else:
        # 0 marks pixels beyond the border, as no pixel has this code; unless they hold zeros like others.
        beyond = int(_codes(images.new_zeros(1))) if padded is not None else 0
        codes = functional.pad(codes, (r, r, r, r), value=beyond)
    factors = _factors(channels + 2 * k, images.device)
    # The hash of a window is the sum of its codes, each times random odd factors of its channel, row and column, modulo
    # 2^64. Such a sum separates, so it is taken one axis after the other: 2 k additions a window, not k^2.
    across, along, sideways = factors.split([channels, k, k])
    flat = (codes * across[:, None, None]).sum(1)
    tall = _summed([flat[:, i : i + height] for i in range(k)], along)
    keys = _summed([tall[:, :, j : j + width] for j in range(k)], sideways)
    if weights is not None:
        keys = keys + _codes(weights) * factors[0]
    if padded is not None:
        keys = keys + _mixed(_kinds(height, width, padded, images.device)) * factors[0]
    return keys


def _kinds(height: int, width: int, border: int, device: torch.device) -> Tensor:
    """Number the kinds of pixels (H, W): those nearer to the border than `border` by their own row, column or both."""
    kinds = []
    for size in (height, width):
        place = torch.arange(1, size + 1, dtype=torch.int64, device=device)
        kinds.append(torch.where((place <= border) | (place > size - border), place, 0))
    return kinds[0][:, None] * (width + 1) + kinds[1]


def resolve_window_ties(
    posterior: Posterior,
    images: Images,
    k: int,
    wraps: bool,
    aligned: bool = False,
    weights: Tensor | None = None,
    border: int | None = None,
) -> Source:
    """Find the first window that equals a pixel's best one, and how many do.

    Parameters
    ----------
    posterior : Posterior (B, H, W)
        Over windows of `images`, with diagnostics.
    images, k, wraps, weights, border
        As for `window_keys`: the candidates.
    aligned : bool
        Whether windows are candidates at their own place only (LS).
    """
    image, row, column = posterior.candidate()
    channels, height, width = images.shape[1:]
    length = max(1, CHUNK // (channels * (height + k) * (width + k)))  # images at a time

    def keys_of(sources: slice | Tensor) -> Tensor:
        own = None if weights is None else weights[sources]
        return window_keys(images[sources], k, wraps, own, border).flatten(1)

    wanted, place = torch.empty_like(image), row * width + column
    for sources in image.unique().split(length):
        mine = torch.isin(image, sources)
        wanted[mine] = keys_of(sources)[torch.searchsorted(sources, image[mine]), place[mine]]
    counted = _count_in_place if aligned else _count
    places, count = (column.view_as(wanted) for column in counted(wanted, len(images), height * width, length, keys_of))
    return Source(places // (height * width), places // width % height, places % width, count)


def resolve_image_ties(posterior: Posterior, images: Images, translates: bool) -> Source:
    """Find the first image, or circular translate, that equals the best one, and how many do.

    Parameters
    ----------
    posterior : Posterior (B, 1, 1)
        Over whole images, with diagnostics.
    images : Tensor or ImageSource (N, C, H, W)
        The training images.
    translates : bool
        Whether translates are candidates, too.

    Returns
    -------
    Source (B, 1, 1)
        Row and column of the training pixel that moved to the first pixel.
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
    return Source(*(column.view(-1, 1, 1) for column in torch.tensor(rows, device=images.device, dtype=torch.int64).T))


def _sums_of_codes(images: Images) -> Tensor:
    """Hash images (N,) so that translates have equal hashes: a sum over pixels does not depend on their order."""
    parts = image_blocks(images, largest_block(images, CHUNK))
    return torch.cat([_mixed(_codes(part)).flatten(1).sum(1) for part in parts])


def _images_like(wanted: Tensor, images: Images) -> list[tuple[int, int, int]]:
    """Places of the images that equal an image (C, H, W) in their central pixels: a cheap test before the exact one."""
    rows, cols = (slice(size // 2 - min(2, size // 2), size // 2 + 2) for size in wanted.shape[1:])
    alike = torch.cat(
        [
            (block[..., rows, cols] == wanted[..., rows, cols]).flatten(1).all(1)
            for block in image_blocks(images, largest_block(images, SEARCHED))
        ]
    )
    return [(n, 0, 0) for n in torch.nonzero(alike)[:, 0].tolist()]


def _translates_like(wanted: Tensor, images: Images, candidates: Tensor) -> list[tuple[int, int, int]]:
    """Image, row and column of all translates that may be equal to an image (C, H, W), in this order.

    The candidates have the same pixels in some order. By Cauchy-Schwarz, the product of a translate with the image
    reaches the image's square only if both are equal. All products are circular correlations, by FFT.
    """
    height, width = wanted.shape[1:]
    spectrum, square = torch.fft.rfft2(wanted.double()).conj(), float(wanted.double().square().sum())
    places = []
    for numbers in candidates.split(largest_block(images, CHUNK)):
        products = torch.einsum("cyx,ncyx->nyx", spectrum, torch.fft.rfft2(images[numbers].double()))
        correlation = torch.fft.irfft2(products, s=(height, width))
        near = torch.nonzero(correlation >= square - 1e-8 * (1 + square))
        places += [(int(numbers[n]), i, j) for n, i, j in near.tolist()]
    return places


def _count(
    wanted: Tensor, count: int, size: int, length: int, keys_of: Callable[[slice], Tensor]
) -> tuple[Tensor, Tensor]:
    """Find the first place of each wanted key among `count` images of `size` windows, and how often it occurs.

    `length` images are hashed at a time.

    A table of the keys' lowest 20 bits rules out most windows with one look-up; a binary search finds the rest.
    """
    known, inverse = wanted.unique(return_inverse=True)
    table = torch.zeros(TABLE, dtype=torch.bool, device=wanted.device)
    table[known & (TABLE - 1)] = True
    counts = known.new_zeros(len(known) + 1)
    first = torch.full_like(counts, NONE)
    for begin in range(0, count, length):
        keys = keys_of(slice(begin, begin + length)).flatten()
        places = torch.nonzero(table[keys & (TABLE - 1)])[:, 0]
        candidates = keys[places]
        index = torch.searchsorted(known, candidates).clamp_max(len(known) - 1)
        index = torch.where(known[index] == candidates, index, len(known))  # the last entry collects keys not asked for
        counts += torch.bincount(index, minlength=len(counts))
        new = first[index] == NONE  # places rise from chunk to chunk: what was found before comes first
        first.scatter_reduce_(0, index[new], places[new] + begin * size, "amin")
    return first[inverse], counts[inverse]


def _count_in_place(
    wanted: Tensor, count: int, size: int, length: int, keys_of: Callable[[slice], Tensor]
) -> tuple[Tensor, Tensor]:
    """As `_count`, for keys (B, size) that are each searched at their own place in the images only."""
    wanted = wanted.flatten(1)
    counts, first = torch.zeros_like(wanted), torch.full_like(wanted, NONE)
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
    """A 64-bit code for each value, never 0 (odd), equal for equal values: adding 0.0 turns -0 into 0."""
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
    """Spread differences of codes over all bits: multiply and fold high bits down, twice (Steele et al. 2014)."""
    for factor in _MIXING:
        codes = codes * factor
        codes = codes ^ ((codes >> 31) & 0x1FFFFFFFF)  # clear the copies of the sign bit: the shift must be logical
    return codes


_MIXING = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)  # the factors of SplitMix64, as signed numbers


def _factors(count: int, device: torch.device) -> Tensor:
    """Random odd 64-bit numbers, the same in every call: odd factors lose no bits modulo 2^64."""
    generator = torch.Generator().manual_seed(0)
    limits = torch.iinfo(torch.int64)
    drawn = torch.randint(limits.min, limits.max, (count,), generator=generator, dtype=torch.int64, device="cpu")
    return (drawn | 1).to(device)
