"""The reference engine: windows compared by their definition, to be read and to test the other engines against."""

from __future__ import annotations

import torch
from torch import Tensor

from mosaic.arithmetic import accumulator_dtype
from mosaic.comparison import Comparison, as_posterior, empty_sums
from mosaic.posterior import BITS, Posterior, after_ones, attend
from mosaic.stream import stream
from mosaic.windows import Band, cut_windows

__all__ = ["reference_band"]


def reference_band(comparison: Comparison, rows: Band, cols: Band) -> Posterior:
    """Compare the windows of a pair of bands: logit = -|x_window - a c_window|^2 / 2 s^2 (eqs. 7 and 9), in float64."""
    level = comparison.level
    wide = accumulator_dtype(comparison.x.device)
    height, width = rows.width, cols.width
    queries = cut_windows(comparison.noisy_part(rows, cols, wide), height, width).flatten(1)

    def part(first: int, tile: Tensor) -> Posterior:
        windows = cut_windows(comparison.image_part(tile, rows, cols, wide), height, width).flatten(1)
        values = after_ones(comparison.values_part(first, len(tile), rows, cols).to(wide))
        weights = comparison.weights_part(first, len(tile), rows.candidates, cols.candidates)
        columns = empty_sums(comparison, len(queries))
        length = max(1, comparison.tile // len(windows))
        for first_of_block in range(0, len(queries), length):
            some = slice(first_of_block, first_of_block + length)
            distances = torch.cdist(queries[some], level.signal * windows, compute_mode="donot_use_mm_for_euclid_dist")
            logits = distances.square_().mul_(-BITS / (2 * level.noise**2))
            if weights is not None:
                logits += weights.reshape(-1)
            sums = attend(logits, values, comparison.compute.diagnostics)
            for column, piece in zip(columns, sums, strict=True):
                column[some] = piece
        return as_posterior(comparison, first, rows, cols, columns)

    per_image = len(rows.candidates) * len(cols.candidates) * max(queries.shape[1], 128)
    return stream(comparison.images, max(1, comparison.tile // per_image), part, comparison.compute.workers)
