"""The four sets of candidates, each streamed over the whole training set into one `Posterior`.

    set                  machine                      candidates for pixel p
    whole_images         IS  (eqs. 3-4)               every training image
    translated_images    ES  (eqs. 5-6)               every circular translate of every training image
    aligned_windows      LS  (eqs. 7-8)               the window at the same p of every training image
    equivariant_windows  ELS (eqs. 9-10, app. B.2)    every training window that hangs over the border alike

Memory does not grow with the training set: it is cut into tiles whose size depends on shapes only.

References: Kamb & Ganguli 2025 (arXiv 2412.20292), equation numbers as above.
"""

from __future__ import annotations

from functools import reduce
from itertools import product

import torch
from torch import Tensor

from mosaic import posterior
from mosaic.compiled import compiled_bands, unsupported
from mosaic.compiler import kernel_build
from mosaic.errors import UsageError
from mosaic.posterior import (
    BITS,
    Arithmetic,
    Posterior,
    accumulator_dtype,
    after_ones,
    attend,
    choose_arithmetic,
    weights_of,
)
from mosaic.schedule import Level
from mosaic.stream import stream
from mosaic.windows import Band, axis_bands, box_matrix, cut_windows

# Pixels of cut windows held at one time: bounds memory for large images, whose windows are many and large.
BLOCK_ELEMENTS = 2**23

ENGINES = ("auto", "compiled", "torch")

__all__ = [
    "BLOCK_ELEMENTS",
    "ENGINES",
    "aligned_windows",
    "engine_of",
    "equivariant_windows",
    "translated_images",
    "whole_images",
]


def whole_images(x: Tensor, images: Tensor, level: Level) -> Posterior:
    """Ideal score: one posterior an image, over the training images (eqs. 3-4).

    Parameters
    ----------
    x : Tensor (B, C, H, W), float32 or float64
        Noisy images.
    images : Tensor (N, C, H, W)
        Training images on the same device, N >= 1.
    level : Level
        Noise level of `x`.
    """
    shape, pixels = x.shape, images[0].numel()
    how = choose_arithmetic(x, level, pixels, _largest(images))
    queries = _query_side(x.flatten(1).to(how.dtype), level, how)

    def part(tile: Tensor) -> Posterior:
        values = tile.flatten(1)
        keys = _key_side(values.to(how.dtype), level, how)
        maximum, total, weighted = attend(_logits(queries, keys, level, how), after_ones(values.to(x.dtype)))
        return Posterior(maximum.view(-1, 1, 1), total.view(-1, 1, 1), weighted.view(shape))

    return stream(images, _tile_length(1, pixels), part)


def translated_images(x: Tensor, images: Tensor, level: Level) -> Posterior:
    """Equivariant score: one posterior an image, over all circular translates (eqs. 5-6).

    The products of x with all H W translates of an image, and the mean of the translates, are circular
    correlations, taken by FFT in float64 (where the device has it).
    """
    (batch, _, height, width), pixels = x.shape, images[0].numel()
    how = choose_arithmetic(x, level, pixels, _largest(images))
    wide = accumulator_dtype(x.device)
    noisy = x.to(wide)
    spectrum = torch.fft.rfft2(noisy).conj()

    def part(tile: Tensor) -> Posterior:
        tile = tile.to(wide)
        tile_spectrum = torch.fft.rfft2(tile)
        if how.expanded:
            correlation = torch.fft.irfft2(torch.einsum("bcyx,ncyx->bnyx", spectrum, tile_spectrum), s=(height, width))
            bias = (level.signal * tile).square().sum((1, 2, 3)) / 2
            logits = (level.signal * correlation - bias[:, None, None]) * (BITS / level.noise**2)
        else:
            logits = torch.stack([_row_of_rolls(noisy, tile.roll(-i, 2), level, how) for i in range(height)], dim=2)
        maximum = logits.amax((1, 2, 3))
        weights = weights_of(logits, maximum[:, None, None, None], wide)
        mean = torch.einsum("bnyx,ncyx->bcyx", torch.fft.rfft2(weights).conj(), tile_spectrum)
        weighted = torch.fft.irfft2(mean, s=(height, width))
        return Posterior(maximum.view(-1, 1, 1), weights.sum((1, 2, 3)).view(-1, 1, 1), weighted)

    per_image = height * width * batch if how.expanded else width * pixels
    return stream(images, max(1, posterior.TILE_ELEMENTS // per_image), part)


def _row_of_rolls(noisy: Tensor, tile: Tensor, level: Level, how: Arithmetic) -> Tensor:
    """Logits (B, n, W) of x against the translates of images (n, C, H, W) along their rows, by differences."""
    rolls = torch.stack([tile.roll(-j, 3) for j in range(tile.shape[3])], dim=1)
    keys = _key_side(rolls.flatten(0, 1).flatten(1), level, how)
    return _logits(noisy.flatten(1), keys, level, how).view(len(noisy), len(tile), -1)


def aligned_windows(x: Tensor, images: Tensor, level: Level, k: int, boundary: str = "zeros") -> Posterior:
    """Local score: a posterior a pixel, over the windows at the same place (eqs. 7-8).

    Sums over windows are box filters, so the cost does not depend on k.

    Parameters
    ----------
    k : int
        Odd window size, 1 <= k.
    boundary : {"zeros", "circular"}
        What a window sees beyond the border: nothing (differences there count 0), or the other side.
    """
    channels, height, width = x.shape[1:]
    how = choose_arithmetic(
        x, level, channels * (k * k if boundary == "circular" else min(k * k, height * width)), _largest(images)
    )
    noisy = x.to(how.dtype)[:, None]
    by_row, by_col = (box_matrix(n, k, boundary, noisy) for n in (height, width))
    wide, a, s = accumulator_dtype(x.device), level.signal, level.noise

    def part(values: Tensor) -> Posterior:
        tile = values.to(how.dtype)
        if how.expanded:
            terms = torch.sub(noisy, tile, alpha=a / 2).mul_(tile).mul_(BITS * a / s**2)
        else:
            terms = torch.sub(noisy, tile, alpha=a).square_().mul_(-BITS / (2 * s**2))
        logits = by_row @ terms.sum(2) @ by_col.T
        maximum = logits.amax(1)
        weights = weights_of(logits, maximum[:, None], x.dtype)
        values = values.to(x.dtype)
        weighted = torch.stack([(weights * values[:, c]).sum(1) for c in range(channels)], dim=1)
        return Posterior(maximum.to(wide), weights.sum(1).to(wide), weighted.to(wide))

    return stream(images, max(1, posterior.TILE_ELEMENTS // x.numel()), part)


def equivariant_windows(
    x: Tensor, images: Tensor, level: Level, k: int, boundary: str = "zeros", engine: str = "auto"
) -> Posterior:
    """Equivariant local score: a posterior a pixel, over windows from everywhere (eqs. 9-10, app. B.2).

    Parameters
    ----------
    k : int
        Odd window size, 1 <= k; for `valid` k <= min(H, W).
    boundary : {"zeros", "circular", "valid"}
        `zeros`: a candidate must hang over the border exactly as the pixel's window does; `circular`: windows
        wrap; `valid`: the noisy image wraps, candidates lie wholly inside the training images.
    engine : {"auto", "compiled", "torch"}
        What compares windows: the compiled kernel, torch, or the kernel where it can serve.

    Raises
    ------
    UsageError
        If k, the boundary or the engine cannot be used.
    """
    compiled = use_compiled(engine, x, images)
    batch, channels, height, width = x.shape
    wide = {"dtype": accumulator_dtype(x.device), "device": x.device}
    result = Posterior(
        torch.empty(batch, height, width, **wide),  # type: ignore[call-overload]
        torch.empty(batch, height, width, **wide),  # type: ignore[call-overload]
        torch.empty(batch, channels, height, width, **wide),  # type: ignore[call-overload]
    )
    largest = _largest(images)
    aligned: Posterior | None = None
    for rows, cols in product(axis_bands(height, k, boundary), axis_bands(width, k, boundary)):
        place = (..., slice(rows.pixels.start, rows.pixels.stop), slice(cols.pixels.start, cols.pixels.stop))
        if rows.fixed and cols.fixed and boundary == "zeros":
            # Such a pixel meets only its own place: the local machine, cheaper for all corners at once.
            aligned = aligned if aligned is not None else aligned_windows(x, images, level, k)
            part = Posterior(aligned.maximum[place], aligned.total[place], aligned.weighted[place])
        else:
            part = _in_blocks(x, images, level, rows, cols, largest, compiled)
        result.maximum[place], result.total[place], result.weighted[place] = (
            part.maximum,
            part.total,
            part.weighted,
        )
    return result


def use_compiled(engine: str, x: Tensor, images: Tensor) -> bool:
    """Choose the engine of ELS; `auto` is the compiled kernel where it can serve."""
    if engine not in ENGINES:
        raise UsageError(f"There is no engine '{engine}'; there are: {', '.join(ENGINES)}.")
    if engine == "torch":
        return False
    reason = unsupported(x, images)
    if reason is not None and engine == "compiled":
        raise UsageError(f"The compiled engine cannot be used here: {reason}; use engine 'auto' or 'torch'.")
    return reason is None


def engine_of(engine: str, images: Tensor, dtype: torch.dtype) -> str:
    """Name the engine that ELS in `dtype` uses with these images, down to the kernel's build."""
    compiled = use_compiled(engine, images[:1].to(dtype), images)
    return f"compiled {kernel_build()}" if compiled else "torch"


def _in_blocks(
    x: Tensor, images: Tensor, level: Level, rows: Band, cols: Band, largest: float, compiled: bool
) -> Posterior:
    """Divide the rows of one pair of bands so that cut windows fill no more than `BLOCK_ELEMENTS` at a time."""
    pixels = x.shape[1] * rows.width * cols.width
    queries = max(1, BLOCK_ELEMENTS // (len(x) * len(cols.pixels) * pixels))
    keys = max(1, BLOCK_ELEMENTS // (len(cols.candidates) * pixels))
    blocks = [
        reduce(
            Posterior.merge,
            (
                _band_posterior(x, images, level, block, cols, largest, compiled)
                for block in some.split_candidates(keys)
            ),
        )
        for some in rows.split_pixels(queries)
    ]
    return Posterior(
        torch.cat([block.maximum for block in blocks], dim=1),
        torch.cat([block.total for block in blocks], dim=1),
        torch.cat([block.weighted for block in blocks], dim=2),
    )


def _band_posterior(
    x: Tensor, images: Tensor, level: Level, rows: Band, cols: Band, largest: float, compiled: bool
) -> Posterior:
    """Compare the noisy windows of one pair of bands with every training window of that pair."""
    batch, channels = x.shape[:2]
    pixels, windows = channels * rows.width * cols.width, len(rows.candidates) * len(cols.candidates)
    how = choose_arithmetic(x, level, pixels, largest)
    if compiled and how.expanded:
        return compiled_bands(x, images, level, rows, cols, how)
    windows_of_x = cut_windows(x.to(how.dtype), rows.frame, cols.frame, rows.width, cols.width)
    queries = _query_side(windows_of_x, level, how)

    def part(tile: Tensor) -> Posterior:
        cut = cut_windows(tile.to(how.dtype), rows.candidate_frame, cols.candidate_frame, rows.width, cols.width)
        keys = _key_side(cut, level, how)
        centres = tile[:, :, rows.candidates.start : rows.candidates.stop, cols.candidates.start : cols.candidates.stop]
        values = after_ones(centres.permute(0, 2, 3, 1).reshape(-1, channels).to(x.dtype))
        blocks = queries.split(max(1, posterior.TILE_ELEMENTS // len(keys)))
        buffer = keys.new_empty(len(blocks[0]), len(keys))
        parts = [attend(_logits(block, keys, level, how, buffer[: len(block)]), values) for block in blocks]
        maximum, total, weighted = (torch.cat(column) for column in zip(*parts, strict=True))
        shape = (batch, len(rows.pixels), len(cols.pixels))
        return Posterior(maximum.view(shape), total.view(shape), weighted.view(*shape, channels).movedim(-1, 1))

    return stream(images, _tile_length(windows, pixels), part)


def _query_side(queries: Tensor, level: Level, how: Arithmetic) -> Tensor:
    """Ready queries (Q, K) for `_logits`: scaled, with a column that meets the keys' squared norms."""
    if not how.expanded:
        return queries
    norm_factor = queries.new_full((len(queries), 1), -BITS * level.signal**2 / (2 * level.noise**2))
    return torch.cat([queries * (BITS * level.signal / level.noise**2), norm_factor], dim=1)


def _key_side(keys: Tensor, level: Level, how: Arithmetic) -> Tensor:
    """Ready keys (M, K) for `_logits`: with their squared norms as one more column, or scaled by a."""
    if not how.expanded:
        return level.signal * keys
    return torch.cat([keys, keys.square().sum(1, keepdim=True)], dim=1)


def _logits(queries: Tensor, keys: Tensor, level: Level, how: Arithmetic, out: Tensor | None = None) -> Tensor:
    """Logits (Q, M), in bits and up to a constant a query, of what the two functions above give; may use `out`."""
    if how.expanded:
        return torch.mm(queries, keys.T, out=out)
    distances = torch.cdist(queries, keys, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.square_().mul_(-BITS / (2 * level.noise**2))


def _tile_length(windows: int, pixels: int) -> int:
    """Images in a tile: windows enough to keep the matrix product busy, few enough to stay in the caches."""
    return max(1, min(posterior.TILE_ELEMENTS // 128, 4 * posterior.TILE_ELEMENTS // pixels) // windows)


def _largest(images: Tensor) -> float:
    low, high = images.aminmax()
    return float(torch.maximum(low.abs(), high.abs()))
