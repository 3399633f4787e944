"""ELS by the compiled kernel: the same sums as `mosaic.candidates`, fused on CPU registers."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from mosaic.compiler import KernelUnavailable, load_kernel
from mosaic.posterior import BITS, Arithmetic, Posterior
from mosaic.schedule import Level
from mosaic.stream import stream
from mosaic.windows import Band, cut_windows, take

__all__ = ["compiled_bands", "unsupported"]

# Comparisons that one call of the kernel is given at least: enough to hide what a call costs.
CALL_COMPARISONS = 5_000_000


class _Windows(ctypes.Structure):
    """`Windows` of kernel.cpp."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("image_stride", "channel_stride", "row_stride")),
        *(
            (name, ctypes.c_int32)
            for name in ("count", "channels", "rows", "cols", "height", "width", "centre_row", "centre_col")
        ),
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


def compiled_bands(x: Tensor, images: Tensor, level: Level, rows: Band, cols: Band, how: Arithmetic) -> Posterior:
    """Compare the noisy windows of one pair of bands with every training window of that pair.

    Parameters
    ----------
    x : Tensor (B, C, H, W), float32, on the CPU
        Noisy images.
    images : Tensor (N, C, H, W), float32, on the CPU
        Training images.
    how : Arithmetic
        Precision of the products; must be `expanded`.
    """
    batch, channels = x.shape[:2]
    kernel, double = load_kernel(), how.dtype == torch.float64
    compare = kernel.mosaic_compare_double if double else kernel.mosaic_compare_float
    scale = BITS * level.signal / level.noise**2
    queries = (cut_windows(x.to(how.dtype), rows.frame, cols.frame, rows.width, cols.width) * scale).contiguous()
    bias_factor = ctypes.c_double(-scale * level.signal / 2)

    def part(tile: Tensor) -> Posterior:
        frame = take(take(tile, 2, rows.candidate_frame), 3, cols.candidate_frame)
        if frame.stride(3) != 1:
            frame = frame.contiguous()
        centre = (rows.centre, cols.centre)
        windows = _Windows(
            frame.data_ptr(), *frame.stride()[:3], len(frame), channels,
            len(rows.candidates), len(cols.candidates), rows.width, cols.width, *centre,
        )  # fmt: skip
        maximum, total = (torch.empty(len(queries), dtype=torch.float64) for _ in range(2))
        weighted = torch.empty(len(queries), channels, dtype=torch.float64)
        failed = compare(
            ctypes.c_void_p(queries.data_ptr()), ctypes.c_int32(len(queries)), ctypes.byref(windows), bias_factor,
            *(ctypes.c_void_p(t.data_ptr()) for t in (maximum, total, weighted)),
        )  # fmt: skip
        assert not failed
        shape = (batch, len(rows.pixels), len(cols.pixels))
        return Posterior(maximum.view(shape), total.view(shape), weighted.view(*shape, channels).movedim(-1, 1))

    per_image = len(queries) * len(rows.candidates) * len(cols.candidates)
    return stream(images, min(4096, max(32, CALL_COMPARISONS // per_image)), part)
