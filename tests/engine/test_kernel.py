"""Structures shared with the kernel: a layout that differs is noticed before a pointer is read."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mosaic.engine.compiler import KernelUnavailable, load_kernel
from mosaic.engine.kernel import Axis, Problem, layout_error


def exporting(numbers: list[int]) -> ctypes.CDLL:
    """Stands for a loaded kernel that exports this layout."""
    array = (ctypes.c_int64 * len(numbers))(*numbers)

    class Function:
        def __init__(self, value: Any) -> None:
            self.value, self.restype = value, None

        def __call__(self) -> Any:
            return self.value

    library = SimpleNamespace(mosaic_layout=Function(array), mosaic_layout_length=Function(len(numbers)))
    return cast("ctypes.CDLL", library)


def layout() -> list[int]:
    numbers = []
    for structure in (Axis, Problem):
        numbers += [ctypes.sizeof(structure)]
        numbers += [getattr(structure, field[0]).offset for field in structure._fields_]
    return numbers


def test_the_kernel_that_is_built_here_agrees() -> None:
    try:
        assert layout_error(load_kernel()) is None
    except KernelUnavailable as error:
        pytest.skip(str(error))


def test_one_offset_that_differs_is_noticed() -> None:
    assert layout_error(exporting(layout())) is None
    for place in range(len(layout())):
        numbers = layout()
        numbers[place] += 8
        assert layout_error(exporting(numbers)) is not None
    assert layout_error(exporting(layout()[:-1])) is not None


def test_a_kernel_without_the_table_is_noticed() -> None:
    assert layout_error(cast("ctypes.CDLL", SimpleNamespace())) is not None
