"""Filtered posterior means: the one formula of which the closed-form theories are choices.

For each pixel p of x0hat, with the filters f of `mosaic.Filters` and candidates c, images that may have been moved,

    x0hat(p) = sum_f r_f(p) sum_c softmax_c( -sum_u pi_f(u) (x_u - a c_u)^2 / (2 s^2 T) + log w_c ) c_(f, p).

IS has one filter of ones; LS has a window about each pixel; ELS has windows, and all translates of the training images;
PCA locality has masks. It is dense and exact: the products of all differences with all precisions are formed, by
differences, in float64. The engines compute their special cases many times faster, and are tested against it.

References: Niedoba, Zwartsenberg & Wood 2026 (arXiv 2605.24192), of which only the abstract was available: the formula
is this project's reading of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype, standard_torch
from mosaic.engine.compute import DEFAULT, Compute, check_input, log_weights_of
from mosaic.engine.filters import Filters
from mosaic.engine.posterior import BITS, Posterior, weights_of
from mosaic.engine.stream import stream
from mosaic.engine.windows import window_axis
from mosaic.errors import UsageError
from mosaic.interfaces.images import Images
from mosaic.interfaces.schedule import Level

__all__ = ["Move", "filtered_posterior_mean", "filtered_workspace_bytes"]

TENSORS = 8  # of the size of a block, at most, that are held at a time


@dataclass(frozen=True)
class Move:
    """What becomes of a training image before it is a candidate: flipped, then turned, then shifted.

    Attributes
    ----------
    flip : bool
        Whether left and right are exchanged.
    turns : int
        Quarter turns, counter-clockwise; an odd number needs square images.
    shift : (int, int)
        Circular shift downwards and to the right, in pixels.
    allowed : Tensor (F,), bool, optional
        The filters that compare these candidates; all by default.
    """

    flip: bool = False
    turns: int = 0
    shift: tuple[int, int] = (0, 0)
    allowed: Tensor | None = None

    def of(self, images: Images) -> Images:
        """Give all training images moved, those of a source as they are read, or those themselves if nothing moves."""
        if not (self.flip or self.turns % 4 or any(self.shift)):
            return images
        return self.apply(images).contiguous() if isinstance(images, Tensor) else images.rearranged(self.apply)

    def apply(self, images: Tensor) -> Tensor:
        """Move images (n, C, H, W); those themselves where nothing moves."""
        images = images.flip(3) if self.flip else images
        images = torch.rot90(images, self.turns, (2, 3)) if self.turns % 4 else images
        return images.roll(self.shift, (2, 3)) if any(self.shift) else images  # each would copy, though it does nothing

    @staticmethod
    def translates(
        height: int, width: int, k: int | None = None, boundary: str = "circular", *, border: int | None = None
    ) -> list[Move]:
        """Make all H W circular translates, each allowed for the windows of ELS that compare it.

        Parameters
        ----------
        height, width : int
            Size of the images, without the padding below.
        k : int, optional
            Window size (or extent of a soft window) of filters about each pixel (`Filters.windows`). By default all
            filters compare all translates.
        boundary : {"zeros", "circular", "valid"}
            A translate brings the window about q to p. `zeros`: p compares it if both windows hang over the border
            alike. `circular`: always. `valid`: if the window about q lies wholly inside.
        border : int, optional
            For `zeros`: only pixels nearer to the border than this need be just as near; beyond it, the windows of all
            others hold zeros, noisy or not. The translates are then those of images with k // 2 pixels of padding on
            all sides. Pad x and the images with zeros, make the filters for their size, and cut x0hat.

        Raises
        ------
        UsageError
            As `mosaic.window_axis`, or if there is a border that is below 0, or that the boundary or `k` does not have.
        """
        if border is not None and (k is None or boundary != "zeros" or border < 0):
            raise UsageError(f"`border` is {border}; it must be at least 0, and goes with `k` and boundary 'zeros'.")
        if k is None:
            return [Move(shift=(i, j)) for i in range(height) for j in range(width)]
        rows, cols = (_allowed_shifts(size, k, boundary, border) for size in (height, width))
        shifts = [(i, j) for i in range(len(rows)) for j in range(len(cols))]
        return [Move(shift=(i, j), allowed=torch.outer(rows[i], cols[j]).flatten()) for i, j in shifts]

    @staticmethod
    def augmented(moves: Sequence[Move], *, flips: bool = False, turns: bool = False) -> list[Move]:
        """Make these moves also of the flipped images, of those turned by quarter turns, or of both (eight in all)."""
        return [
            replace(move, flip=flip, turns=turn)
            for flip in ((False, True) if flips else (False,))
            for turn in (range(4) if turns else (0,))
            for move in moves
        ]


STILL = (Move(),)


def _allowed_shifts(size: int, k: int, boundary: str, border: int | None) -> Tensor:
    """Whether the pixel p of an axis compares the window about p - shift: (shifts, size), bool.

    With a `border` the axis is padded by k // 2 on both sides; the padding compares itself.
    """
    padding = 0 if border is None else k // 2
    length = size + 2 * padding
    allowed = torch.zeros(length, length, dtype=torch.bool, device="cpu")
    allowed[0, :padding] = allowed[0, length - padding :] = True
    for band in window_axis(size, k, boundary, border=border).bands:
        for pixel in band.pixels:
            for candidate in band.candidates:
                allowed[(pixel - candidate) % length, padding + pixel] = True
    return allowed


def filtered_workspace_bytes(block: int, filters: int, pixels: int) -> int:
    """Bytes that a thread needs at most for `block` logits, of images and filters that each answer for pixels alone."""
    return 8 * TENSORS * max(block // 4, filters, pixels)


@standard_torch()
@torch.no_grad()
def filtered_posterior_mean(
    x: Tensor,
    images: Images,
    level: Level,
    filters: Filters,
    *,
    moves: Sequence[Move] = STILL,
    weights: Tensor | None = None,
    temperature: float = 1.0,
    batch: int | None = None,
    dtype: torch.dtype | None = None,
    compute: Compute = DEFAULT,
) -> Tensor:
    """Posterior means of filters, mixed by their responses (the module's docstring has the formula).

    Parameters
    ----------
    x : Tensor (B, C, H, W), float32 or float64
        Noisy images.
    images : Tensor or ImageSource (N, C, H, W)
        Training images on the same device, N >= 1.
    level : Level
        Noise level of `x`.
    filters : Filters
        Precisions and responses, on the same device.
    moves : sequence of Move
        The candidates are the images moved in each of these ways; the images themselves by default.
    weights : Tensor (N,), positive, optional
        How many times each image counts; once by default.
    temperature : float
        T > 0; infinity makes all candidates equal.
    batch : int, optional
        Average the means over consecutive batches of so many images (the last may be smaller), each with the same
        weight, in place of the softmax over all of them: as published code does.
    dtype : torch.dtype, optional
        Precision of all sums; float64 where the device has it by default.
    compute : Compute
        Memory.

    Returns
    -------
    Tensor (B, C, H, W), of `dtype`
        x0hat. It does not depend on the other samples of `x`.

    Raises
    ------
    UsageError
        If the arguments do not fit each other, or a filter has no candidate.
    """
    check_input(x, images, level)
    dtype = dtype or accumulator_dtype(x.device)
    allowed = _checked(x, filters, moves, temperature, batch)
    log_weights = log_weights_of(weights, len(images))
    # If one filter answers for a pixel, its sums at this pixel are enough; else all filters have sums at all pixels.
    one_each = filters.responses.ndim == 1
    precisions = (filters.precisions.to(dtype) * (-BITS / (2 * level.noise**2 * temperature))).T
    length = max(1, compute.block_on(x.device) // (4 * len(moves) * max(filters.precisions.shape)))

    def mean_of(sample: Tensor, first: int, among: Images) -> Tensor:
        def part(start: int, block: Tensor) -> Posterior:
            candidates = torch.cat([move.apply(block) for move in moves]).flatten(1).to(dtype)
            logits = (sample - level.signal * candidates).square_() @ precisions
            by_move = logits.view(len(moves), len(block), -1)
            if log_weights is not None:
                by_move += log_weights[first + start :][: len(block), None].to(dtype)
            if allowed is not None:
                by_move.masked_fill_(~allowed[:, None], -torch.inf)
            maximum = logits.amax(0)
            shares = weights_of(logits, maximum, dtype)
            total = shares.sum(0)
            if not one_each:
                weighted = (shares.T @ candidates).view(-1, *x.shape[1:])
                return Posterior(maximum.view(-1, 1, 1), total.view(-1, 1, 1), weighted)
            own = filters.responses
            weighted = shares[:, own].mul_(candidates).sum(0)
            return Posterior(maximum[own].view(-1, 1, 1), total[own].view(-1, 1, 1), weighted.view(-1, 1, 1, 1))

        means = stream(among, length, part).mean()
        return (means if one_each else (means.flatten(1) * filters.responses.to(dtype)).sum(0)).view(x.shape[1:])

    size = batch or len(images)
    if isinstance(images, Tensor):
        batches: Sequence[Images] = images.split(size)
    else:
        places = torch.arange(len(images), dtype=torch.int64, device="cpu")
        batches = [images.select(part) for part in places.split(size)]
    result = torch.zeros_like(x, dtype=dtype)
    for total, sample in zip(result, x.flatten(1).to(dtype), strict=True):
        for number, among in enumerate(batches):
            total += mean_of(sample, number * (batch or 0), among)
    return result.div_(len(batches))


def _checked(
    x: Tensor, filters: Filters, moves: Sequence[Move], temperature: float, batch: int | None
) -> Tensor | None:
    """Which filters compare the candidates of each move: (moves, F), bool, or None for all; refuse what cannot be."""
    count, pixels = filters.precisions.shape
    if pixels != x[0].numel():
        raise UsageError(f"The filters are of {pixels} pixels; images like x have {x[0].numel()}.")
    if not temperature > 0:
        raise UsageError(f"`temperature` is {temperature}; it must be above 0.")
    if batch is not None and (not isinstance(batch, int) or batch < 1):
        raise UsageError(f"`batch` is {batch}; it must be a whole number of at least 1.")
    if x.shape[2] != x.shape[3] and any(move.turns % 2 for move in moves):
        raise UsageError(f"Images of {x.shape[2]} x {x.shape[3]} pixels cannot be turned by a quarter.")
    for move in moves:
        if move.allowed is not None and tuple(move.allowed.shape) != (count,):
            raise UsageError(
                f"`allowed` of a move has shape {tuple(move.allowed.shape)}; {count} filters need one each."
            )
    if moves and all(move.allowed is None for move in moves):
        return None
    everywhere = torch.ones(count, dtype=torch.bool, device=x.device)
    rows = [everywhere if move.allowed is None else move.allowed.to(x.device) for move in moves]
    if not rows or not bool(torch.stack(rows).any(0).all()):
        raise UsageError("Some filter has no candidates: no move is allowed for it.")
    return torch.stack(rows)
