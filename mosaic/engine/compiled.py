"""The compiled engine: the same sums as `mosaic.engine.reference`, in float32 on CPUs, fused by kernel.cpp."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from mosaic.engine.compiler import KernelUnavailable, load_kernel
from mosaic.engine.kernel import Axis, Problem
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
    if x.shape[1] not in (1, 3):
        return f"it is built for 1 or 3 channels, not {x.shape[1]}"
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

    It counts registers of 64 bytes: a block of images, window products, sums and biases. Frames may wrap, so that
    sides grow by k.
    """
    channels, height, width = shape
    side = [size + k + LANES for size in (height, width)]
    registers = (channels + 1) * side[0] * side[1] + side[1] ** 2 + batch * (1 + channels) * height * width
    return 2**23 + 64 * registers + 8 * 4 * batch * (4 + channels) * height * width


def compiled_windows(problem: WindowProblem) -> Posterior:
    """Compare all windows; x and images in float32 on the CPU, the problem's arithmetic `expanded`."""
    x, level, rows, cols = problem.x, problem.level, problem.rows, problem.cols
    double, diagnostics = problem.arithmetic.dtype == torch.float64, problem.compute.diagnostics
    compare = load_kernel().mosaic_compare_double if double else load_kernel().mosaic_compare_float
    factor = BITS * level.signal / level.noise**2
    noisy = frame_of(x.to(problem.arithmetic.dtype) * factor, rows.noisy_frame, cols.noisy_frame).contiguous()
    row_tables, col_tables = _tables(rows), _tables(cols)
    if rows.profile is not None:
        noisy, row_tables = _weighted_rows(noisy, rows, row_tables)
    profiles = [_profile(axis) for axis in (rows, cols)]
    row_candidates, col_candidates = _candidates(rows), _candidates(cols)
    batch, channels, height, width = x.shape

    def part(first: int, block: Tensor) -> Posterior:
        frame = frame_of(block, rows.frame, cols.frame)
        frame = frame if frame.stride(3) == 1 else frame.contiguous()
        shape = (batch, height, width)
        reference, total, energy, best = (torch.empty(shape, dtype=torch.float64, device="cpu") for _ in range(4))
        weighted = torch.empty(*shape, channels, dtype=torch.float64, device="cpu")
        source = torch.empty(shape, dtype=torch.int64, device="cpu")
        weights = problem.weights_part(first, len(block), row_candidates, col_candidates)
        if weights is not None:
            weights = weights.float().contiguous()
        call = Problem(
            noisy.data_ptr(), batch, channels, *noisy.shape[2:],
            frame.data_ptr(), *frame.stride()[:3], len(frame), *frame.shape[2:], diagnostics,
            _axis(height, row_tables, profiles[0]), _axis(width, col_tables, profiles[1]), -factor * level.signal / 2,
            None if weights is None else weights.data_ptr(),
            *(tensor.data_ptr() for tensor in (reference, total, weighted, energy, best, source)),
        )  # fmt: skip
        if compare(ctypes.byref(call)):  # channels were checked in `unsupported`, so memory is the only cause left
            raise MemoryError("The compiled engine found no memory for its workspace.")
        weighted = weighted.movedim(-1, 1)
        if not diagnostics:
            return Posterior(reference, total, weighted)
        source = problem.source(source, first, row_candidates, col_candidates)
        return _relative_to_best(reference, total, weighted, energy, best, source)

    return stream(problem.images, _block_images(problem.images, batch * rows.pairs * cols.pairs), part)


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
    """`Axis` of kernel.cpp: six tables, the first three by query, the others by candidate from the first on."""
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
    columns = [*zip(*(queries[i] for i in sorted(queries)), strict=True)]
    columns += [*zip(*(windows[i] for i in sorted(windows)), strict=True)]
    return tuple(torch.tensor(column, dtype=torch.int32, device="cpu") for column in columns)


def _weighted_rows(noisy: Tensor, rows: WindowAxis, tables: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Copy the rows that each row of queries sees, times the profile, one after the other; and where copies start."""
    bands = sorted((pixel, i, band) for band in rows.bands for i, pixel in enumerate(band.pixels))
    parts, starts, length = [], [], 0
    for _, i, band in bands:
        weights = torch.tensor(rows.profile_in(band), dtype=noisy.dtype, device=noisy.device)
        parts.append(noisy[:, :, band.start + i : band.start + i + band.width] * weights[:, None])
        starts.append(length)
        length += band.width
    return torch.cat(parts, dim=2), (torch.tensor(starts, dtype=torch.int32, device="cpu"), *tables[1:])


def _profile(axis: WindowAxis) -> Tensor | None:
    return None if axis.profile is None else torch.tensor(axis.profile, dtype=torch.float64, device="cpu")


def _axis(size: int, tables: tuple[Tensor, ...], profile: Tensor | None) -> Axis:
    centre = None if profile is None else profile[len(profile) // 2 :].data_ptr()
    return Axis(size, len(tables[-1]), *(table.data_ptr() for table in tables), centre)
