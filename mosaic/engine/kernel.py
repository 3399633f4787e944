"""The structures that Python shares with kernel.cpp; their layout is checked when the kernel is loaded."""

from __future__ import annotations

import ctypes

__all__ = ["MARGIN", "Axis", "Problem", "layout_error"]

MARGIN = 8
"""Columns that the kernel reads beyond the end of a noisy row."""


class Axis(ctypes.Structure):
    """Field by field the `Axis` of kernel.cpp; pointers are to C-contiguous arrays, int32 but for the
    profile, which points to the weight of the centre among float64 ones."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("queries", "candidates", "frame_length")),
        *((name, ctypes.c_void_p) for name in ("frame", "query_start", "first_met", "last_met", "start", "length")),
        *((name, ctypes.c_void_p) for name in ("centre", "profile")),
    )


class Problem(ctypes.Structure):
    """Field by field the `Problem` of kernel.cpp; strides are counted in numbers, not in bytes."""

    _fields_ = (
        ("noisy", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("batch", "channels", "noisy_rows", "noisy_cols")),
        ("images", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("image_stride", "channel_stride", "row_stride", "col_stride")),
        *((name, ctypes.c_int32) for name in ("count", "diagnose")),
        ("rows", Axis),
        ("cols", Axis),
        ("bias_factor", ctypes.c_double),
        ("log_weights", ctypes.c_void_p),
        *((f"weights_{name}_stride", ctypes.c_int64) for name in ("image", "row", "col")),
        *((name, ctypes.c_void_p) for name in ("reference", "total", "weighted", "energy", "best", "source")),
        *((name, ctypes.c_void_p) for name in ("only", "squares")),
    )


def _layout(structure: type[ctypes.Structure]) -> list[int]:
    """Size of a structure, then the offset of each of its fields."""
    names = [field[0] for field in structure._fields_]
    return [ctypes.sizeof(structure), *(getattr(structure, name).offset for name in names)]


def layout_error(library: ctypes.CDLL) -> str | None:
    """Say how the structures of a loaded kernel differ from those here; None where they agree.

    A kernel that lays them out otherwise would read pointers from the wrong places.
    """
    try:
        table, length = library.mosaic_layout, library.mosaic_layout_length
        _ = library.mosaic_compare_float, library.mosaic_compare_double
    except AttributeError as error:
        return f"it lacks a symbol ({error})"
    table.restype, length.restype = ctypes.POINTER(ctypes.c_int64), ctypes.c_int64
    theirs, ours = table()[: length()], [*_layout(Axis), *_layout(Problem), MARGIN]
    return None if theirs == ours else f"its structures are laid out as {theirs}, not as {ours}"
