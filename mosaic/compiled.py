"""The compiled engine: the same sums as `mosaic.reference`, in float32 on CPUs, fused by kernel.cpp."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from mosaic.comparison import Comparison
from mosaic.compiler import KernelUnavailable, load_kernel
from mosaic.posterior import BITS, Posterior
from mosaic.stream import stream
from mosaic.windows import WindowAxis, frame_of

__all__ = ["LANES", "compiled_windows", "unsupported"]

# Images that the kernel works on at one time, where registers are widest.
LANES = 16

# Comparisons that a call of the kernel is given where there are many: enough to hide what a call costs.
CALL_COMPARISONS = 1e8

# Calls that the training set is divided into at least: enough to keep several threads evenly busy.
CALLS = 32


class _Axis(ctypes.Structure):
    """`Axis` of kernel.cpp."""

    _fields_ = (
        ("queries", ctypes.c_int32),
        ("candidates", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("query_start", "first_met", "last_met", "start", "length", "centre")),
    )


class _Problem(ctypes.Structure):
    """`Problem` of kernel.cpp."""

    _fields_ = (
        ("noisy", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("batch", "channels", "noisy_rows", "noisy_cols")),
        ("images", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("image_stride", "channel_stride", "row_stride")),
        *((name, ctypes.c_int32) for name in ("count", "image_rows", "image_cols", "diagnose")),
        ("rows", _Axis),
        ("cols", _Axis),
        ("bias_factor", ctypes.c_double),
        ("log_weights", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("reference", "total", "weighted", "energy", "best", "source")),
    )


def unsupported(x: Tensor, images: Tensor) -> str | None:
    """Say why the kernel cannot serve this input; None where it can."""
    if x.device.type != "cpu":
        return f"it computes on the CPU, not on {x.device}"
    if x.dtype != torch.float32 or images.dtype != torch.float32:
        return "it computes in float32"
    if x.shape[1] not in (1, 3):
        return f"it is built for 1 or 3 channels, not {x.shape[1]}"
    try:
        load_kernel()
    except KernelUnavailable as error:
        return str(error)
    return None


def compiled_windows(comparison: Comparison) -> Posterior:
    """Compare all windows; x and images in float32 on the CPU, the comparison's arithmetic `expanded`."""
    x, level, rows, cols = comparison.x, comparison.level, comparison.rows, comparison.cols
    double, diagnostics = comparison.arithmetic.dtype == torch.float64, comparison.compute.diagnostics
    compare = load_kernel().mosaic_compare_double if double else load_kernel().mosaic_compare_float
    scale = BITS * level.signal / level.noise**2
    noisy = frame_of(x.to(comparison.arithmetic.dtype) * scale, rows.noisy_frame, cols.noisy_frame).contiguous()
    row_tables, col_tables = _tables(rows), _tables(cols)
    row_candidates, col_candidates = _candidates(rows), _candidates(cols)
    batch, channels, height, width = x.shape

    def part(first: int, tile: Tensor) -> Posterior:
        frame = frame_of(tile, rows.frame, cols.frame)
        frame = frame if frame.stride(3) == 1 else frame.contiguous()
        shape = (batch, height, width)
        reference, total, energy, best = (torch.empty(shape, dtype=torch.float64) for _ in range(4))
        weighted = torch.empty(*shape, channels, dtype=torch.float64)
        source = torch.empty(shape, dtype=torch.int64)
        weights = comparison.weights_part(first, len(tile), row_candidates, col_candidates)
        if weights is not None:
            weights = weights.float().contiguous()
        problem = _Problem(
            noisy.data_ptr(), batch, channels, *noisy.shape[2:],
            frame.data_ptr(), *frame.stride()[:3], len(frame), *frame.shape[2:], diagnostics,
            _axis(height, row_tables), _axis(width, col_tables), -scale * level.signal / 2,
            None if weights is None else weights.data_ptr(),
            *(tensor.data_ptr() for tensor in (reference, total, weighted, energy, best, source)),
        )  # fmt: skip
        if compare(ctypes.byref(problem)):  # channels were checked above, so it is memory
            raise MemoryError("The compiled engine found no memory for its workspace.")
        weighted = weighted.movedim(-1, 1)
        if not diagnostics:
            return Posterior(reference, total, weighted)
        source = comparison.source(source, first, row_candidates, col_candidates)
        return _diagnosed(reference, total, weighted, energy, best, source)

    blocks = min(CALL_COMPARISONS / (batch * rows.pairs * cols.pairs), len(comparison.images) / CALLS) / LANES
    return stream(comparison.images, max(1, math.ceil(blocks)) * LANES, part, comparison.compute.workers)


def _diagnosed(
    reference: Tensor, total: Tensor, weighted: Tensor, energy: Tensor, best: Tensor, source: Tensor
) -> Posterior:
    """Posterior relative to its best logit rather than to the kernel's reference."""
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
    return tuple(torch.tensor(column, dtype=torch.int32) for column in columns)


def _axis(size: int, tables: tuple[Tensor, ...]) -> _Axis:
    return _Axis(size, len(tables[-1]), *(table.data_ptr() for table in tables))
