"""The torch engine: on any device, windows compared as a convolution of the training images with the noisy windows.

With logit = a x.c / s^2 - a^2 |c|^2 / 2 s^2 (the term of |x|^2 is the same for all candidates), the products of all
training windows with a noisy window are one channel of a convolution whose filter is that noisy window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from mosaic.device import accumulator_dtype, interrupts_held, single_threaded
from mosaic.engine.posterior import BITS, Posterior, after_ones, attend, squares_of
from mosaic.engine.stream import stream
from mosaic.engine.window_problem import WindowProblem, as_posterior, empty_sums
from mosaic.engine.windows import Band, cut_windows

__all__ = ["convolved_band", "workspace_bytes"]

# Noisy windows compared at a time: with this many filters a convolution reaches the machine's peak speed.
FILTERS = 128

# Bytes for each logit of a block, at most: logits in float64, their products, weights and copies.
BYTES_PER_LOGIT = 160

# Training images from which the references of all blocks are taken: their largest logits.
REFERENCE_IMAGES = 16


def workspace_bytes(batch: int, shape: tuple[int, int, int], k: int, block: int) -> int:
    """Bytes that a thread needs at most for `block` logits and k x k windows of noisy images (batch, C, H, W)."""
    channels, height, width = shape
    window = channels * min(k**2, height * width)
    return BYTES_PER_LOGIT * block + 2 * 8 * batch * height * width * window


def convolved_band(problem: WindowProblem, rows: Band, cols: Band) -> Posterior:
    """Compare the windows of a pair of bands by convolution; the problem's arithmetic must be `expanded`."""
    level, dtype, diagnostics = problem.level, problem.arithmetic.dtype, problem.compute.diagnostics
    factor = BITS * level.signal / level.noise**2
    profile = problem.profile_part(rows, cols, dtype)
    profile = torch.ones(rows.width, cols.width, dtype=dtype, device=problem.x.device) if profile is None else profile
    queries = cut_windows(problem.noisy_part(rows, cols, dtype), rows.width, cols.width)
    queries = queries[problem.queries_part(rows, cols)]
    if len(queries) == 0:
        return as_posterior(problem, 0, rows, cols, empty_sums(problem, 0))
    filters = _channels_last(queries * (profile * factor))
    windows = len(rows.candidates) * len(cols.candidates)
    # About FILTERS at a time, in a multiple of 16, and in groups of equal size: a small last group is ten times slower.
    length = 16 * math.ceil(len(filters) / (16 * max(1, round(len(filters) / FILTERS))))
    length = min(length, max(1, problem.block // windows))  # where one image has more windows than a block

    def seen_and_bias(first: int, block: Tensor) -> tuple[Tensor, Tensor]:
        seen = _channels_last(problem.image_part(block, rows, cols, dtype))
        bias = conv2d(seen.square().sum(1, keepdim=True), profile[None, None])[:, 0] * (-factor * level.signal / 2)
        weights = problem.weights_part(first, len(block), rows.candidates, cols.candidates)
        return seen, (bias if weights is None else bias + weights.to(dtype)).reshape(-1, 1)

    def logits_of(seen: Tensor, bias: Tensor, group: Tensor, less: Tensor | None = None) -> Tensor:
        """Logits (M, Q) minus their references; neighbours in memory belong to the same candidate."""
        products = conv2d(seen, group, None if less is None else -less)
        return products.permute(0, 2, 3, 1).flatten(0, 2).add_(bias)

    # Logits of a few images give references for all blocks. So most blocks need no pass for their maximum (`_attend`).
    sample = seen_and_bias(0, problem.images[: max(1, min(REFERENCE_IMAGES, problem.block // FILTERS // windows))])
    references = filters.new_empty(len(filters))
    # One thread, as for blocks: numbers must not depend on thread counts.
    with interrupts_held() as interrupted, single_threaded(interrupted):
        for group, less in zip(filters.split(length), references.split(length), strict=True):
            torch.amax(logits_of(*sample, group), 0, out=less)

    def part(first: int, block: Tensor) -> Posterior:
        seen, bias = seen_and_bias(first, block)
        values = after_ones(problem.values_part(first, block, rows, cols).to(problem.x.dtype))
        columns = empty_sums(problem, len(filters))
        for first_of_group in range(0, len(filters), length):
            chosen = slice(first_of_group, first_of_group + length)
            group, less = filters[chosen], references[chosen]
            images = len(block) if problem.compute.moments else None
            quick = None if diagnostics else _attend(logits_of(seen, bias, group, less), values, less, images)
            sums = quick or attend(logits_of(seen, bias, group).T, values, diagnostics, images)
            for column, piece in zip(columns, sums, strict=True):
                column[chosen] = piece
        return as_posterior(problem, first, rows, cols, columns)

    return stream(problem.images, max(1, problem.block // FILTERS // windows), part, problem.compute.shards)


def _attend(logits: Tensor, values: Tensor, reference: Tensor, images: int | None) -> tuple[Tensor, ...] | None:
    """Reduce logits (M, Q) minus references (Q,) as `attend` does, relative to the references: no pass for the maximum.

    None if a logit exceeds its reference by so much that a weight overflows. A reference is a logit that occurs, so the
    total over all blocks is at least 1, and underflow in one block does no harm.
    """
    wide = accumulator_dtype(logits.device)
    weights = logits.to(values.dtype).clamp_min_(-126).exp2_()  # smaller results are denormal numbers, twice as slow
    if images is None:
        sums = (values.T @ weights).to(wide)
        return (reference.to(wide), sums[0], sums[1:].T) if bool(torch.isfinite(sums[0]).all()) else None
    of_image = (values.unflatten(0, (images, -1)).mT @ weights.unflatten(0, (images, -1))).to(wide).mT
    sums, squares = of_image.sum(0), squares_of(of_image).sum(0)
    return (reference.to(wide), sums[:, 0], sums[:, 1:], squares) if bool(torch.isfinite(squares).all()) else None


def _channels_last(images: Tensor) -> Tensor:
    """Lay out images (n, C, H, W) with channels last.

    For one channel, torch cannot tell this layout from the usual one; explicit strides make it choose the fast path.
    """
    _, channels, height, width = images.shape
    strides = (height * width * channels, 1, width * channels, channels)
    return images.permute(0, 2, 3, 1).contiguous().as_strided(images.shape, strides)
