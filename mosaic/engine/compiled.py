"""The compiled engine: the same sums as `mosaic.engine.reference`, in float32 on CPUs, fused by kernel.cpp."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from mosaic.engine.compiler import KernelUnavailable, load_kernel
from mosaic.engine.kernel import MARGIN, Axis, Problem
from mosaic.engine.posterior import BITS, Posterior
from mosaic.engine.stream import stream
from mosaic.engine.window_problem import WindowProblem
from mosaic.engine.windows import WindowAxis, frame_of
from mosaic.interfaces.image_source import largest_block
from mosaic.interfaces.images import Images

__all__ = ["LANES", "block_values", "compiled_windows", "fallback_notes", "unsupported", "workspace_bytes"]

# Images that the kernel works on at a time where registers are widest: blocks are multiples of it, so no lane is idle.
LANES = 16

# Comparisons in one call of the kernel, at most about: enough to hide the cost of a call.
CALL_COMPARISONS = 1e8

# The training set is divided into at least about this many calls, so that several threads stay evenly busy.
CALLS = 32

# Values in the images of one call, at most: large sets are read in pieces, and each thread holds one.
CALL_VALUES = 2**24


def unsupported(x: Tensor, images: Images) -> str | None:
    """Say why the kernel cannot be used for this input, or at all on this machine; None if it can."""
    return _unsuited(x, images) or _missing()


def fallback_notes(engine: str, images: Images) -> list[str]:
    """Note that `auto` does without the kernel, where nothing but this machine stands in its way."""
    reason = _missing() if engine == "auto" and _unsuited(images, images) is None else None
    return [] if reason is None else [f"The compiled engine cannot be used here: {reason}; torch compares windows."]


def _unsuited(x: Images, images: Images) -> str | None:
    """Say why the kernel is not made for this input; None if it is."""
    if x.device.type != "cpu":
        return f"it computes on the CPU, not on {x.device}"
    if x.dtype != torch.float32 or images.dtype != torch.float32:
        return "it computes in float32"
    return None


def _missing() -> str | None:
    """Say why there is no kernel on this machine; None if there is one."""
    try:
        load_kernel()
    except KernelUnavailable as error:
        return str(error)
    return None


def workspace_bytes(batch: int, shape: tuple[int, int, int], k: int) -> int:
    """Bytes that a thread needs at most for windows of k pixels and `batch` noisy images of a shape (C, H, W).

    It counts registers of 64 bytes: a block of images, biases, window products and sums, also those of diagnostics.
    Then there are noisy images, in float64, and three posteriors, two of which merge into the third. Frames may wrap,
    so that sides grow by k.
    """
    channels, height, width = shape
    side = [size + k + LANES for size in (height, width)]
    registers = (channels + 1) * side[0] * side[1] + side[1] ** 2 + batch * (5 + channels) * height * width
    noisy, posteriors = 2 * channels * side[0] * side[1], (16 + 5 * channels) * height * width
    return 2**23 + 64 * registers + 8 * batch * (noisy + posteriors)


def compiled_windows(problem: WindowProblem) -> Posterior:
    """Compare all windows; x and images in float32 on the CPU, the problem's arithmetic `expanded`."""
    x, level, rows, cols = problem.x, problem.level, problem.rows, problem.cols
    double, diagnostics = problem.arithmetic.dtype == torch.float64, problem.compute.diagnostics
    moments = problem.compute.moments
    only = None if problem.only is None else problem.only.to(torch.uint8).contiguous()
    compare = load_kernel().mosaic_compare_double if double else load_kernel().mosaic_compare_float
    factor = BITS * level.signal / level.noise**2
    noisy = frame_of(x.to(problem.arithmetic.dtype) * factor, rows.noisy_frame, cols.noisy_frame)
    noisy = pad(noisy, (0, MARGIN))
    row_tables, col_tables = _tables(rows), _tables(cols)
    if rows.profile is not None:
        noisy, row_tables = _weighted_rows(noisy, rows, row_tables)
    profiles = [_profile(axis) for axis in (rows, cols)]
    row_candidates, col_candidates = _candidates(rows), _candidates(cols)
    batch, channels, height, width = x.shape

    def part(first: int, block: Tensor) -> Posterior:
        shape = (batch, height, width)
        reference, total, energy, best = (torch.empty(shape, dtype=torch.float64, device="cpu") for _ in range(4))
        weighted = torch.empty(*shape, channels, dtype=torch.float64, device="cpu")
        source = torch.empty(shape, dtype=torch.int64, device="cpu")
        squares = torch.empty(*shape, 1 + 2 * channels, dtype=torch.float64, device="cpu") if moments else None
        weights = problem.weights_part(first, len(block), row_candidates, col_candidates)
        call = Problem(
            noisy.data_ptr(), batch, channels, noisy.shape[2], noisy.shape[3] - MARGIN,
            block.data_ptr(), *block.stride(), len(block), diagnostics,
            _axis(height, row_tables, profiles[0]), _axis(width, col_tables, profiles[1]), -factor * level.signal / 2,
            *((None, 0, 0, 0) if weights is None else (weights.data_ptr(), *weights.stride())),
            *(tensor.data_ptr() for tensor in (reference, total, weighted, energy, best, source)),
            *(None if tensor is None else tensor.data_ptr() for tensor in (only, squares)),
        )  # fmt: skip
        if compare(ctypes.byref(call)):
            raise MemoryError("The compiled engine found no memory for its workspace.")
        weighted = weighted.movedim(-1, 1)
        if not diagnostics:
            return Posterior(reference, total, weighted, squares=None if squares is None else squares.movedim(-1, 1))
        source = problem.source(source, first, row_candidates, col_candidates)
        return _relative_to_best(reference, total, weighted, energy, best, source)

    length = _block_images(problem.images, batch * rows.pairs * cols.pairs)
    return stream(problem.images, length, part, problem.compute.shards)


def _block_images(images: Images, comparisons: float) -> int:
    """How many images a call takes, of which each needs so many comparisons."""
    blocks = min(CALL_COMPARISONS / comparisons, len(images) / CALLS) / LANES
    most = max(1, largest_block(images, CALL_VALUES) // LANES)
    return max(1, min(most, math.ceil(blocks))) * LANES


def block_values(images: Images, comparisons: float) -> int:
    """Values of the images that a call takes at most, if one sample needs so many comparisons with each image."""
    return _block_images(images, max(1, comparisons)) * math.prod(images.shape[1:])


def _relative_to_best(
    reference: Tensor, total: Tensor, weighted: Tensor, energy: Tensor, best: Tensor, source: Tensor
) -> Posterior:
    """Restate a posterior relative to its best logit: `merge` compares maxima to find the best candidate and ties.

    The kernel sums relative to its reference, which is only near the largest logit.
    """
    factor = torch.exp2(reference - best)
    energy = (energy + (reference - best) * total) * factor
    return Posterior(best, total * factor, weighted * factor[:, None], energy, source)


def _candidates(axis: WindowAxis) -> range:
    """All candidates of an axis, by their centres."""
    return range(min(b.candidates.start for b in axis.bands), max(b.candidates.stop for b in axis.bands))


def _tables(axis: WindowAxis) -> tuple[Tensor, ...]:
    """`Axis` of kernel.cpp: the frame, three tables by query, and three by candidate from the first on."""
    candidates = _candidates(axis)
    queries = {
        pixel: (band.start + i, band.candidates.start - candidates.start, band.candidates.stop - candidates.start)
        for band in axis.bands
        for i, pixel in enumerate(band.pixels)
    }
    windows = {
        centre: (band.candidate_start + i, band.width, band.candidate_start + i + band.centre)
        for band in axis.bands
        for i, centre in enumerate(band.candidates)
    }
    columns = [axis.frame, *zip(*(queries[i] for i in sorted(queries)), strict=True)]
    columns += [*zip(*(windows[i] for i in sorted(windows)), strict=True)]
    return tuple(torch.tensor(column, dtype=torch.int32, device="cpu") for column in columns)


def _weighted_rows(noisy: Tensor, rows: WindowAxis, tables: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Copy the rows that each row of queries sees, times the profile, one after the other; and where copies start."""
    bands = sorted((pixel, i, band) for band in rows.bands for i, pixel in enumerate(band.pixels))
    batch, channels, _, width = noisy.shape
    copies = noisy.new_empty(batch, channels, sum(band.width for *_, band in bands), width)
    starts, length = [], 0
    for _, i, band in bands:
        weights = torch.tensor(rows.profile_in(band), dtype=noisy.dtype, device=noisy.device)
        seen = noisy[:, :, band.start + i : band.start + i + band.width]
        copies[:, :, length : length + band.width] = seen * weights[:, None]
        starts.append(length)
        length += band.width
    return copies, (tables[0], torch.tensor(starts, dtype=torch.int32, device="cpu"), *tables[2:])


def _profile(axis: WindowAxis) -> Tensor | None:
    return None if axis.profile is None else torch.tensor(axis.profile, dtype=torch.float64, device="cpu")


def _axis(size: int, tables: tuple[Tensor, ...], profile: Tensor | None) -> Axis:
    centre = None if profile is None else profile[len(profile) // 2 :].data_ptr()
    return Axis(size, len(tables[-1]), len(tables[0]), *(table.data_ptr() for table in tables), centre)
