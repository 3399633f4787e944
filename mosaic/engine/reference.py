"""The reference engine: windows compared by their definition, to be read and to test the other engines against."""

from __future__ import annotations

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype
from mosaic.engine.posterior import BITS, Posterior, after_ones, attend
from mosaic.engine.stream import stream
from mosaic.engine.window_problem import WindowProblem, as_posterior, empty_sums
from mosaic.engine.windows import Band, cut_windows

__all__ = ["reference_band", "workspace_bytes"]

# Squared differences: products would cancel.
EXACT = "donot_use_mm_for_euclid_dist"

# Bytes for each logit of a block, at most: as the torch engine, and the windows cut out.
BYTES_PER_LOGIT = 640


def workspace_bytes(batch: int, shape: tuple[int, int, int], k: int, block: int) -> int:
    """Bytes that a thread needs at most for `block` logits, and windows of k pixels of noisy images."""
    channels, height, width = shape
    window = channels * min(k**2, height * width)
    return BYTES_PER_LOGIT * block + 2 * 8 * batch * height * width * window


def reference_band(problem: WindowProblem, rows: Band, cols: Band) -> Posterior:
    """Compare the windows of a pair of bands: logit = -|x_window - a c_window|^2 / 2 s^2 (eqs. 7 and 9), in float64.

    With a profile, each squared difference counts by its pixel's weight.
    """
    level = problem.level
    wide = accumulator_dtype(problem.x.device)
    height, width = rows.width, cols.width
    profile = problem.profile_part(rows, cols, wide)

    def windows_of(frame: Tensor) -> Tensor:
        windows = cut_windows(frame, height, width)
        return (windows if profile is None else windows * profile.sqrt()).flatten(1)

    queries = windows_of(problem.noisy_part(rows, cols, wide))[problem.queries_part(rows, cols)]
    if len(queries) == 0:
        return as_posterior(problem, 0, rows, cols, empty_sums(problem, 0))

    def part(first: int, block: Tensor) -> Posterior:
        windows = windows_of(problem.image_part(block, rows, cols, wide))
        values = after_ones(problem.values_part(first, block, rows, cols).to(wide))
        weights = problem.weights_part(first, len(block), rows.candidates, cols.candidates)
        columns = empty_sums(problem, len(queries))
        length = max(1, problem.block // len(windows))
        for first_of_group in range(0, len(queries), length):
            chosen = slice(first_of_group, first_of_group + length)
            distances = torch.cdist(queries[chosen], level.signal * windows, compute_mode=EXACT)
            logits = distances.square_().mul_(-BITS / (2 * level.noise**2))
            if weights is not None:
                logits += weights.reshape(-1)
            images = len(block) if problem.compute.moments else None
            sums = attend(logits, values, problem.compute.diagnostics, images)
            for column, piece in zip(columns, sums, strict=True):
                column[chosen] = piece
        return as_posterior(problem, first, rows, cols, columns)

    per_image = len(rows.candidates) * len(cols.candidates) * max(queries.shape[1], 128)
    return stream(problem.images, max(1, problem.block // per_image), part, problem.compute.shards)
