"""Jacobians of posterior means, in closed form: covariances of candidates under the posterior.

A logit has the derivative d logit(c) / d x_u = -g(u - p) (x_u - a c_u) / s^2, in which x_u is the same for all
candidates. So of x0hat(p) = sum_c softmax(logit)_c centre(c),

    d x0hat(p) / d x_u = (a / s^2) g(u - p) Cov(centre, c_u),

the covariance under the posterior of p, with c_u the candidate's pixel that is compared with x_u. Whole images share
one posterior, and g is 1; of windows, g is 1 inside and 0 outside, or a soft window's profile.

References: Miyasawa 1961 (An empirical Bayes estimator of the mean of a normal population); Kamb & Ganguli 2025, eqs.
3-10, of which these are the derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype, standard_torch
from mosaic.engine.compute import Compute, check_input
from mosaic.engine.ideal import logits_of
from mosaic.engine.posterior import Posterior
from mosaic.engine.precision import choose_arithmetic, largest_magnitude
from mosaic.engine.window_problem import Values
from mosaic.engine.windows import Profile, frame_of, profiles_of
from mosaic.interfaces.image_source import largest_block
from mosaic.interfaces.images import Images, image_blocks
from mosaic.interfaces.schedule import Level

__all__ = ["ideal_jacobian", "window_jacobian"]

BLOCK = 2**24  # pixels of training images at a time
AVERAGED = 8  # values averaged of a candidate with which blocks have their usual size


@standard_torch()
@torch.no_grad()
def ideal_jacobian(x: Tensor, images: Images, level: Level) -> Tensor:
    """Jacobian of the ideal score's x0hat: (a / s^2) Cov(c, c) over the training images (eqs. 3-4).

    Parameters
    ----------
    x, images, level
        As for `ideal_posterior`.

    Returns
    -------
    Tensor (B, C, H, W, C, H, W)
        d x0hat / d x, symmetric; float64 (where the device has it).
    """
    check_input(x, images, level)
    wide = accumulator_dtype(x.device)
    queries, length = x.flatten(1).to(wide), largest_block(images, BLOCK)
    how = choose_arithmetic(queries.view(x.shape), level, queries.shape[1], largest_magnitude(images))
    logits = torch.cat(
        [
            logits_of(queries.to(how.dtype), block.flatten(1).to(how.dtype), level, how)
            for block in image_blocks(images, length)
        ],
        1,
    )
    weights = torch.softmax(logits.to(wide) * torch.log(torch.tensor(2.0, dtype=wide, device=x.device)), 1)
    result = torch.zeros(len(x), queries.shape[1], queries.shape[1], dtype=wide, device=x.device)
    for own, matrix in zip(weights, result, strict=True):
        mean = torch.stack([(weight * block).sum(0) for weight, block in _counted(own, images, length)]).sum(0)
        for weight, block in _counted(own, images, length):
            apart = (block - mean) * weight.sqrt()
            matrix.addmm_(apart.T, apart)
    return (result * (level.signal / level.noise**2)).view(len(x), *x.shape[1:], *x.shape[1:])


def _counted(weights: Tensor, images: Images, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give, block by block, the weights (n, 1) that are not 0, and their images (n, D), of the weights' dtype."""
    for own, block in zip(weights.split(length), image_blocks(images, length), strict=True):
        yield own[own > 0, None], block.flatten(1)[own > 0].to(weights.dtype)


@standard_torch()
@torch.no_grad()
def window_jacobian(
    posterior: Callable[[Values, Compute], Posterior],
    images: Images,
    level: Level,
    k: int,
    boundary: str,
    *,
    profile: Profile | None = None,
) -> Tensor:
    """Jacobian of x0hat of a machine that compares windows: (a / s^2) g(u - p) Cov(centre, c_u), pixel by pixel.

    Parameters
    ----------
    posterior : callable
        posterior(values, compute): the machine's posterior of x with these `values` in place of pixels, as
        `local_posterior` and `equivariant_local_posterior` give it of float64 x.
    images, level, k, boundary, profile
        As they are given to those.

    Returns
    -------
    Tensor (B, C, H, W, C, H, W)
        d x0hat / d x, float64 (where the device has it). Of LS and ELS it is not symmetric: each pixel has a posterior
        of its own.
    """
    channels, height, width = images.shape[1:]
    up, left = (_reach(boundary, size, k) for size in (height, width))
    offsets, profiles = list(product(up, left)), profiles_of(profile)
    averaged = channels * (1 + len(offsets) * (1 + channels))
    compute = Compute("torch")
    compute = Compute("torch", block=max(2**14, AVERAGED * compute.block_on(images.device) // averaged))
    mean = posterior(_products(offsets, boundary == "circular"), compute).mean()
    centre, seen, products = mean.split([channels, len(offsets) * channels, len(offsets) * channels**2], 1)
    seen, products = seen.unflatten(1, (1, len(offsets), channels)), products.unflatten(1, (channels, len(offsets), -1))
    covariances = products - centre[:, :, None, None] * seen  # (B, C, offsets, C, H, W)
    result = mean.new_zeros(len(mean), channels, channels, height * width, height * width)
    for number, offset in enumerate(offsets):
        pixels, others = _pairs(offset, height, width, boundary != "zeros", mean.device)
        weights = (1.0 if each is None else each[u + k // 2] for u, each in zip(offset, profiles, strict=True))
        # Windows wider than an image that wraps see a pixel several times.
        result[..., pixels, others] += math.prod(weights) * covariances[:, :, number].flatten(-2)[..., pixels]
    result *= level.signal / level.noise**2
    shaped = result.view(-1, channels, channels, height, width, height, width)
    return shaped.permute(0, 1, 3, 4, 2, 5, 6).contiguous()


def _reach(boundary: str, size: int, k: int) -> range:
    """Offsets of a window's pixels from its centre along an axis; pixels beyond the border do not count."""
    most = min(k // 2, size - 1) if boundary == "zeros" else k // 2
    return range(-most, most + 1)


def _products(offsets: Sequence[tuple[int, int]], wraps: bool) -> Values:
    """Give pixels, pixels at these offsets from them, and the products of both: C + O C + C O C values."""
    up, left = (max(offset[axis] for offset in offsets) for axis in (0, 1))

    def values(images: Tensor, rows: range, cols: range) -> Tensor:
        wide = images.to(accumulator_dtype(images.device))
        height, width = images.shape[2:]
        places = [range(part.start - most, part.stop + most) for part, most in ((rows, up), (cols, left))]
        frame = frame_of(
            wide, *(_framed(place, size, wraps) for place, size in zip(places, (height, width), strict=True))
        )
        seen = torch.stack(
            [frame[:, :, i + up : i + up + len(rows), j + left : j + left + len(cols)] for i, j in offsets], 1
        )
        centre = wide[:, :, rows.start : rows.stop, cols.start : cols.stop]
        return torch.cat([centre, seen.flatten(1, 2), (centre[:, :, None, None] * seen[:, None]).flatten(1, 3)], 1)

    return values


def _framed(places: range, size: int, wraps: bool) -> tuple[int, ...]:
    return tuple(i % size if wraps else i if 0 <= i < size else -1 for i in places)


def _pairs(
    offset: tuple[int, int], height: int, width: int, wraps: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Pixels of x, and those at this offset from them, as places in the flat image; without those beyond the border."""
    places = torch.arange(height * width, dtype=torch.int64, device=device)
    row, col = places // width + offset[0], places % width + offset[1]
    if wraps:
        return places, row % height * width + col % width
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    return places[inside], (row * width + col)[inside]
