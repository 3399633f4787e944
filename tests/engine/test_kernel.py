"""Structures shared with the kernel: a layout that differs is noticed before a pointer is read."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mosaic.engine.compiler import KernelUnavailable, load_kernel
from mosaic.engine.kernel import MARGIN, Axis, Problem, layout_error


def exporting(numbers: list[int], *missing: str) -> ctypes.CDLL:
    """Stands for a loaded kernel that exports this layout, without the symbols that are missing."""
    array = (ctypes.c_int64 * len(numbers))(*numbers)

    class Function:
        def __init__(self, value: Any) -> None:
            self.value, self.restype = value, None

        def __call__(self) -> Any:
            return self.value

    symbols = {"mosaic_layout": array, "mosaic_layout_length": len(numbers)}
    symbols |= dict.fromkeys(("mosaic_compare_float", "mosaic_compare_double"))
    library = {name: Function(value) for name, value in symbols.items() if name not in missing}
    return cast("ctypes.CDLL", SimpleNamespace(**library))


def layout() -> list[int]:
    numbers = []
    for structure in (Axis, Problem):
        numbers += [ctypes.sizeof(structure)]
        numbers += [getattr(structure, field[0]).offset for field in structure._fields_]
    return [*numbers, MARGIN]


def test_the_kernel_that_is_built_here_agrees() -> None:
    try:
        assert layout_error(load_kernel()) is None
    except KernelUnavailable as error:
        pytest.skip(str(error))


def test_one_number_that_differs_is_noticed() -> None:
    assert layout_error(exporting(layout())) is None
    for place in range(len(layout())):
        numbers = layout()
        numbers[place] += 8
        assert layout_error(exporting(numbers)) is not None
    assert layout_error(exporting(layout()[:-1])) is not None


@pytest.mark.parametrize("symbol", ["mosaic_layout", "mosaic_compare_float", "mosaic_compare_double"])
def test_a_kernel_without_a_symbol_is_noticed(symbol: str) -> None:
    assert symbol in str(layout_error(exporting(layout(), symbol)))
