"""The torch engine: on any device, windows compared as a convolution of the training images with the noisy windows.

With logit = a x.c / s^2 - a^2 |c|^2 / 2 s^2 (the term of |x|^2 is the same for all candidates), the products of all
training windows with a noisy window are one channel of a convolution whose filter is that noisy window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from mosaic.arithmetic import accumulator_dtype
from mosaic.comparison import Comparison, as_posterior, empty_sums
from mosaic.posterior import BITS, Posterior, after_ones, attend
from mosaic.stream import single_threaded, stream
from mosaic.windows import Band, cut_windows

__all__ = ["convolved_band", "full_precision"]

# Noisy windows compared at a time: so many keep a convolution at the machine's peak.
FILTERS = 128

# Training images whose largest logits serve as the references of all.
REFERENCE_IMAGES = 16


def convolved_band(comparison: Comparison, rows: Band, cols: Band) -> Posterior:
    """Compare the windows of a pair of bands by convolution; the comparison's arithmetic must be `expanded`."""
    level, dtype, diagnostics = comparison.level, comparison.arithmetic.dtype, comparison.compute.diagnostics
    scale = BITS * level.signal / level.noise**2
    filters = _channels_last(cut_windows(comparison.noisy_part(rows, cols, dtype), rows.width, cols.width) * scale)
    ones = filters.new_ones(1, 1, rows.width, cols.width)
    windows = len(rows.candidates) * len(cols.candidates)
    # About FILTERS at a time, a multiple of 16, and no small remainder: that would be ten times slower.
    length = 16 * math.ceil(len(filters) / (16 * max(1, round(len(filters) / FILTERS))))
    length = min(length, max(1, comparison.tile // windows))  # where one image has more windows than a tile

    def seen_and_bias(first: int, tile: Tensor) -> tuple[Tensor, Tensor]:
        seen = _channels_last(comparison.image_part(tile, rows, cols, dtype))
        bias = conv2d(seen.square().sum(1, keepdim=True), ones)[:, 0] * (-scale * level.signal / 2)
        weights = comparison.weights_part(first, len(tile), rows.candidates, cols.candidates)
        return seen, (bias if weights is None else bias + weights.to(dtype)).reshape(-1, 1)

    def logits_of(seen: Tensor, bias: Tensor, block: Tensor, less: Tensor | None = None) -> Tensor:
        """Logits (M, Q) less their references; in memory the filters are neighbours."""
        products = conv2d(seen, block, None if less is None else -less)
        return products.permute(0, 2, 3, 1).flatten(0, 2).add_(bias)

    sample = seen_and_bias(0, comparison.images[: max(1, min(REFERENCE_IMAGES, comparison.tile // FILTERS // windows))])
    references = filters.new_empty(len(filters))
    with full_precision(), single_threaded():  # as the tiles: the numbers do not depend on the number of threads
        for block, less in zip(filters.split(length), references.split(length), strict=True):
            torch.amax(logits_of(*sample, block), 0, out=less)

    def part(first: int, tile: Tensor) -> Posterior:
        seen, bias = seen_and_bias(first, tile)
        values = after_ones(comparison.values_part(first, len(tile), rows, cols).to(comparison.x.dtype))
        columns = empty_sums(comparison, len(filters))
        for first_of_block in range(0, len(filters), length):
            some = slice(first_of_block, first_of_block + length)
            block, less = filters[some], references[some]
            quick = None if diagnostics else _attend(logits_of(seen, bias, block, less), values, less)
            sums = quick or attend(logits_of(seen, bias, block).T, values, diagnostics)
            for column, piece in zip(columns, sums, strict=True):
                column[some] = piece
        return as_posterior(comparison, first, rows, cols, columns)

    with full_precision():
        return stream(
            comparison.images, max(1, comparison.tile // FILTERS // windows), part, comparison.compute.workers
        )


def _attend(logits: Tensor, values: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Reduce logits (M, Q) less references (Q,) as `attend` does, but relative to those: no pass for the maximum.

    None where a logit exceeds its reference by so much that a weight overflows. A reference is a logit that occurs, so
    of all tiles together the total is at least 1.
    """
    wide = accumulator_dtype(logits.device)
    weights = logits.to(values.dtype).clamp_min_(-126).exp2_()  # results below that are denormal: twice as slow
    sums = (values.T @ weights).to(wide)
    return (reference.to(wide), sums[0], sums[1:].T) if bool(torch.isfinite(sums[0]).all()) else None


def _channels_last(images: Tensor) -> Tensor:
    """Lay out images (n, C, H, W) with neighbouring channels, by strides that say so for one channel too."""
    _, channels, height, width = images.shape
    strides = (height * width * channels, 1, width * channels, channels)
    return images.permute(0, 2, 3, 1).contiguous().as_strided(images.shape, strides)


@contextmanager
def full_precision() -> Iterator[None]:
    """Let CUDA multiply in full float32: TensorFloat-32, the default of convolutions, is wrong by 1e-3 and more."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    allowed = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = allowed
