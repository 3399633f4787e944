"""Whole images as candidates: IS (eqs. 3-4) and ES (eqs. 5-6), streamed over the training set into one `Posterior`.

Nothing here has gradients. Memory does not grow with the training set: it is cut into blocks, by shapes only.

References: Kamb & Ganguli 2025 (arXiv 2412.20292), equation numbers as above.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype, standard_torch
from mosaic.engine.compute import DEFAULT, Compute, check_input, log_weights_of
from mosaic.engine.distribute import in_shards
from mosaic.engine.posterior import BITS, Posterior, attend, energy_of, weights_of
from mosaic.engine.precision import Arithmetic, choose_arithmetic, largest_magnitude
from mosaic.engine.stream import stream
from mosaic.interfaces.images import Images
from mosaic.interfaces.schedule import Level

__all__ = ["equivariant_posterior", "ideal_posterior", "logits_of", "workspace_bytes"]

# Bytes for each logit of a block, at most: logits in float64, their products, weights and copies of the images.
BYTES_PER_LOGIT = 224


def workspace_bytes(block: int) -> int:
    """Bytes that a thread needs at most for `block` logits."""
    return BYTES_PER_LOGIT * block


@in_shards
@standard_torch()
@torch.no_grad()
def ideal_posterior(
    x: Tensor, images: Images, level: Level, *, weights: Tensor | None = None, compute: Compute = DEFAULT
) -> Posterior:
    """Ideal score: one posterior an image, over the training images (eqs. 3-4).

    Parameters
    ----------
    x : Tensor (B, C, H, W), float32 or float64
        Noisy images.
    images : Tensor or ImageSource (N, C, H, W)
        Training images on the same device, N >= 1.
    level : Level
        Noise level of `x`.
    weights : Tensor (N,), positive, optional
        How many times each candidate counts; once by default.
    compute : Compute
        Diagnostics and memory; whole images have one engine.

    Raises
    ------
    UsageError
        If the weights cannot be used.
    """
    check_input(x, images, level)
    shape, pixels = x.shape, math.prod(images.shape[1:])
    log_weights = log_weights_of(weights, len(images))
    how = choose_arithmetic(x, level, pixels, largest_magnitude(images))
    queries, block_logits = x.flatten(1).to(how.dtype), compute.block_on(x.device)

    def part(first: int, block: Tensor) -> Posterior:
        flat = block.flatten(1).to(x.dtype)
        values = torch.cat([flat.new_ones(len(flat), 1), flat], dim=1)
        logits = logits_of(queries, flat.to(how.dtype), level, how)
        if log_weights is not None:
            logits += log_weights[first : first + len(block)]
        maximum, total, weighted, *rest = attend(logits, values, compute.diagnostics)
        # A matrix product may round its columns differently from `total`, which would push a mean out of its range.
        low, high = flat.amin(0), flat.amax(0)
        weighted = weighted.clamp(total[:, None] * low, total[:, None] * high)
        ends = [tensor.view(-1, 1, 1) for tensor in (maximum, total, *rest)]
        if rest:
            ends[-1] = (ends[-1] + first) * (shape[2] * shape[3])
        return Posterior(ends[0], ends[1], weighted.view(shape), *ends[2:])

    return stream(images, max(1, min(block_logits // 128, 4 * block_logits // pixels)), part, compute.shards)


@in_shards
@standard_torch()
@torch.no_grad()
def equivariant_posterior(
    x: Tensor, images: Images, level: Level, *, weights: Tensor | None = None, compute: Compute = DEFAULT
) -> Posterior:
    """Equivariant score: one posterior an image, over all circular translates (eqs. 5-6).

    The products of x with all H W translates of an image are a circular correlation, and so is the mean of the
    translates. Both are computed by FFT, in float64 (where the device has it). Parameters as for `ideal_posterior`. The
    row and column of `Posterior.source` are those of the training pixel that moved to the image's first pixel.
    """
    check_input(x, images, level)
    (batch, _, height, width), pixels = x.shape, math.prod(images.shape[1:])
    log_weights = log_weights_of(weights, len(images))
    how = choose_arithmetic(x, level, pixels, largest_magnitude(images))
    wide = accumulator_dtype(x.device)
    noisy = x.to(wide)
    spectrum = torch.fft.rfft2(noisy).conj()

    def part(first: int, block: Tensor) -> Posterior:
        block = block.to(wide)
        block_spectrum = torch.fft.rfft2(block)
        if how.expanded:
            correlation = torch.fft.irfft2(torch.einsum("bcyx,ncyx->bnyx", spectrum, block_spectrum), s=(height, width))
            bias = (level.signal * block).square().sum((1, 2, 3)) / 2
            logits = (level.signal * correlation - bias[:, None, None]) * (BITS / level.noise**2)
        else:
            logits = torch.stack([_row_of_rolls(noisy, block.roll(-i, 2), level, how) for i in range(height)], dim=2)
        if log_weights is not None:
            logits += log_weights[first : first + len(block), None, None]
        maximum = logits.amax((1, 2, 3), keepdim=True)
        best = logits.flatten(1).argmax(1) if compute.diagnostics else None
        candidate_weights = weights_of(logits, maximum, wide)
        mean = torch.einsum("bnyx,ncyx->bcyx", torch.fft.rfft2(candidate_weights).conj(), block_spectrum)
        total = candidate_weights.sum((1, 2, 3)).view(-1, 1, 1)
        posterior = Posterior(maximum[:, 0], total, torch.fft.irfft2(mean, s=(height, width)))
        if best is not None:
            posterior.energy = energy_of(candidate_weights, 1, 2, 3).view(-1, 1, 1)
            posterior.source = best.view(-1, 1, 1) + first * height * width
        return posterior

    per_image = height * width * batch if how.expanded else width * pixels
    return stream(images, max(1, compute.block_on(x.device) // per_image), part, compute.shards)


def _row_of_rolls(noisy: Tensor, block: Tensor, level: Level, how: Arithmetic) -> Tensor:
    """Logits (B, n, W) of x against the translates of images (n, C, H, W) along their rows, by differences."""
    rolls = torch.stack([block.roll(-j, 3) for j in range(block.shape[3])], dim=1)
    return logits_of(noisy.flatten(1), rolls.flatten(0, 1).flatten(1), level, how).view(len(noisy), len(block), -1)


def logits_of(queries: Tensor, keys: Tensor, level: Level, how: Arithmetic) -> Tensor:
    """Logits (Q, M), in bits and up to a constant a query, of queries (Q, K) and keys (M, K)."""
    if not how.expanded:
        distances = torch.cdist(queries, level.signal * keys, compute_mode="donot_use_mm_for_euclid_dist")
        return distances.square_().mul_(-BITS / (2 * level.noise**2))
    factor = BITS * level.signal / level.noise**2
    bias = torch.linalg.vector_norm(keys, dim=1).square_().mul_(-factor * level.signal / 2)
    return torch.addmm(bias, queries * factor, keys.T)
