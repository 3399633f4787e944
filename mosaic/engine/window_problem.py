"""The comparison of noisy windows with training windows, and its division into bands and blocks.

An engine computes the posterior of one problem: `mosaic.engine.compiled` at once, `mosaic.engine.convolved` and
`mosaic.engine.reference` one pair of bands (rows x columns) at a time, by `over_bands`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype
from mosaic.engine.compute import Compute
from mosaic.engine.posterior import Posterior
from mosaic.engine.precision import Arithmetic
from mosaic.engine.stream import shards_of
from mosaic.engine.windows import Band, WindowAxis, frame_of
from mosaic.interfaces.image_source import ImageSource
from mosaic.interfaces.images import Images
from mosaic.interfaces.schedule import Level

__all__ = ["BandEngine", "Values", "WindowProblem", "as_posterior", "empty_sums", "over_bands"]

Values = Callable[[Tensor, range, range], Tensor]
"""Gives the values (n, V, rows, columns) at these rows and columns of images (n, C, H, W)."""


@dataclass(frozen=True)
class WindowProblem:
    """Noisy images, training images, and which of their windows are compared.

    Attributes
    ----------
    x : Tensor (B, C, H, W)
        Noisy images.
    images : Tensor or ImageSource (N, C, H, W)
        Training images on the same device, N >= 1.
    level : Level
        Noise level of `x`.
    rows, cols : WindowAxis
        Windows along the two axes.
    log_weights : Tensor (N, H, W), optional
        Added to the logits of the windows with these centres, in bits.
    values : Tensor or ImageSource (N, V, H, W), or Values
        What is averaged, at the centre of each window: the images' pixels, or other values given in their place. What
        would fill the memory if it were held is a function that gives it, of a block of images at a time.
    arithmetic : Arithmetic
        How logits are evaluated.
    compute : Compute
        Engine, diagnostics and block size.
    only : Tensor (B, H, W), bool, optional
        The pixels whose windows are compared; all by default. What an engine gives at others is not used.
    """

    x: Tensor
    images: Images
    level: Level
    rows: WindowAxis
    cols: WindowAxis
    log_weights: Tensor | None
    values: Images | Values
    arithmetic: Arithmetic
    compute: Compute
    only: Tensor | None = None

    def by_shard(self) -> Iterator[WindowProblem]:
        """Divide the problem by the shards of the training images."""
        shards = self.compute.shards
        for number in shards_of(len(self.images)) if shards is None else shards:
            yield replace(self, compute=replace(self.compute, shards=range(number, number + 1)))

    @property
    def block(self) -> int:
        """Logits to hold at a time, on the device of x."""
        return self.compute.block_on(self.x.device)

    def noisy_part(self, rows: Band, cols: Band, dtype: torch.dtype) -> Tensor:
        """Part (B, C, rows, cols) of the noisy images, in `dtype`, that the windows of a pair of bands see."""
        frame = frame_of(self.x.to(dtype), self.rows.noisy_frame, self.cols.noisy_frame)
        return _part(frame, rows.start, len(rows.pixels) + rows.width, cols.start, len(cols.pixels) + cols.width)

    def image_part(self, images: Tensor, rows: Band, cols: Band, dtype: torch.dtype) -> Tensor:
        """Part (n, C, rows, cols) of training images (n, C, H, W) that candidate windows of a pair of bands see."""
        frame = frame_of(images, self.rows.frame, self.cols.frame)
        height, width = len(rows.candidates) + rows.width, len(cols.candidates) + cols.width
        # Converted once it is cut out: whole images would be copied for each pair of bands.
        return _part(frame, rows.candidate_start, height, cols.candidate_start, width).to(dtype)

    def profile_part(self, rows: Band, cols: Band, dtype: torch.dtype) -> Tensor | None:
        """How much each pixel (rows, cols) of the windows of a pair of bands counts; None where all count 1."""
        if self.rows.profile is None and self.cols.profile is None:
            return None
        parts = (axis.profile_in(band) for axis, band in ((self.rows, rows), (self.cols, cols)))
        row, col = (torch.tensor(part, dtype=dtype, device=self.x.device) for part in parts)
        return row[:, None] * col

    def queries_part(self, rows: Band, cols: Band) -> Tensor | slice:
        """Say which of the noisy windows of a pair of bands, counted row by row, are compared."""
        if self.only is None:
            return slice(None)
        return torch.nonzero(self.only[_place(rows, cols)].reshape(-1))[:, 0]

    def weights_part(self, first: int, count: int, rows: range, cols: range) -> Tensor | None:
        """Log-weights (n, rows, columns) of candidates by the rows and columns of their centres, from image `first`."""
        if self.log_weights is None:
            return None
        return self.log_weights[first : first + count, rows.start : rows.stop, cols.start : cols.stop]

    def values_part(self, first: int, block: Tensor, rows: Band, cols: Band) -> Tensor:
        """Values (n * windows, V) of the candidates of a pair of bands in a block of images, row by row."""
        values = self.values_at(first, block, rows.candidates, cols.candidates)
        return values.permute(0, 2, 3, 1).reshape(-1, values.shape[1])

    def values_at(self, first: int, block: Tensor, rows: range, cols: range) -> Tensor:
        """Values (n, V, rows, columns) by the rows and columns of centres, of a block of images from `first` on."""
        if not isinstance(self.values, (Tensor, ImageSource)):
            return self.values(block, rows, cols)
        values = block if self.values is self.images else self.values[first : first + len(block)]
        return values[:, :, rows.start : rows.stop, cols.start : cols.stop]

    @property
    def values_count(self) -> int:
        """How many values a centre has, V."""
        if isinstance(self.values, (Tensor, ImageSource)):
            return self.values.shape[1]
        return self.values(self.images[:1], range(1), range(1)).shape[1]

    def source(self, index: Tensor, first: int, rows: range, cols: range) -> Tensor:
        """Turn indices among the candidates of images from `first` on into the numbers of `Posterior.source`."""
        height, width = self.x.shape[2:]
        image, row, col = index // (len(rows) * len(cols)), index // len(cols) % len(rows), index % len(cols)
        return ((image + first) * height + row + rows.start) * width + col + cols.start


def _part(frame: Tensor, row: int, height: int, col: int, width: int) -> Tensor:
    """Cut out the n + w - 1 rows and columns that n windows of w pixels cover; `height` and `width` are n + w."""
    return frame[:, :, row : row + height - 1, col : col + width - 1]


BandEngine = Callable[[WindowProblem, Band, Band], Posterior]
"""Compares the noisy windows of a pair of bands with all its training windows; gives the posterior of its pixels."""


def over_bands(problem: WindowProblem, engine: BandEngine, corners: Posterior | None = None) -> Posterior:
    """Compare all pairs of bands, block by block.

    Parameters
    ----------
    corners : Posterior, optional
        A posterior computed before. It is used at pixels whose candidates are all at their own place.
    """
    batch, _, height, width = problem.x.shape
    whole: dict[str, Tensor] = {}
    # Parts are copied as they come: small tensors kept between the large ones of an engine would fragment memory.
    for rows, cols, part in _parts(problem, engine, corners):
        pieces = part.parts()
        whole = whole or {
            name: piece.new_empty(batch, *(piece.shape[1:2] if piece.ndim == 4 else ()), height, width)
            for name, piece in pieces.items()
        }
        for name, piece in pieces.items():
            whole[name][_place(rows, cols)] = piece
    return Posterior(**whole)


def _parts(
    problem: WindowProblem, engine: BandEngine, corners: Posterior | None
) -> Iterator[tuple[Band, Band, Posterior]]:
    for rows, cols in product(problem.rows.bands, problem.cols.bands):
        if corners is not None and len(rows.candidates) == len(cols.candidates) == 1:
            yield rows, cols, Posterior(**{name: each[_place(rows, cols)] for name, each in corners.parts().items()})
        else:
            yield from ((block, cols, part) for block, part in _in_blocks(problem, rows, cols, engine))


def _place(rows: Band, cols: Band) -> tuple[Any, ...]:
    return ..., slice(rows.pixels.start, rows.pixels.stop), slice(cols.pixels.start, cols.pixels.stop)


def _in_blocks(problem: WindowProblem, rows: Band, cols: Band, engine: BandEngine) -> Iterator[tuple[Band, Posterior]]:
    """Divide the rows of a pair of bands, so that the windows cut out at a time hold at most eight values per logit.

    Noisy windows are divided into separate results, candidates into parts that are merged in order.
    """
    x, block = problem.x, problem.block
    pixels = x.shape[1] * rows.width * cols.width
    queries = max(1, 8 * block // (len(x) * len(cols.pixels) * pixels))
    keys = max(1, 8 * block // (len(cols.candidates) * pixels))
    for part in rows.split_pixels(queries):
        yield part, reduce(Posterior.merge, (engine(problem, piece, cols) for piece in part.split_candidates(keys)))


def empty_sums(problem: WindowProblem, queries: int) -> list[Tensor]:
    """Room for the results of `attend`, allocated at once: small tensors between large ones would fragment memory."""
    x, wide = problem.x, accumulator_dtype(problem.x.device)
    sums = [x.new_empty(queries, *more, dtype=wide) for more in ((), (), (problem.values_count,))]
    if problem.compute.diagnostics:
        sums += [x.new_empty(queries, dtype=wide), x.new_empty(queries, dtype=torch.int64)]
    if problem.compute.moments:
        sums.append(x.new_empty(queries, 1 + 2 * problem.values_count, dtype=wide))
    return sums


def as_posterior(problem: WindowProblem, first: int, rows: Band, cols: Band, sums: list[Tensor]) -> Posterior:
    """Shape sums over the queries of a pair of bands, row by row, into their posterior; `first` is the first image.

    The sums are those of the queries that are compared (`queries_part`).
    """
    shape = (len(problem.x), len(rows.pixels), len(cols.pixels))
    if problem.only is not None:
        chosen = problem.queries_part(rows, cols)
        assert isinstance(chosen, Tensor)
        sums = [each.new_zeros(math.prod(shape), *each.shape[1:]).index_copy_(0, chosen, each) for each in sums]
    maximum, total, weighted, *rest = sums
    posterior = Posterior(maximum.view(shape), total.view(shape), weighted.view(*shape, -1).movedim(-1, 1))
    if problem.compute.moments:
        posterior.squares = rest.pop().view(*shape, -1).movedim(-1, 1)
    if rest:
        posterior.energy = rest[0].view(shape)
        posterior.source = problem.source(rest[1], first, rows.candidates, cols.candidates).view(shape)
    return posterior
