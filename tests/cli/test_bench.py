"""`mosaic bench`: its table, and what it refuses; tests/bench measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from command_results import refused

from mosaic.bench.engines import ROWS
from mosaic.engine.compute import ENGINES
from mosaic_cli.bench import _print

Invoke = Callable[..., Result]
RESULT: dict[str, Any] = {
    "row": "ls",
    "engine": "torch",
    "images": 40,
    "samples": 2,
    "scales": None,
    "workers": 0,
    "scale": 9,
    "median_seconds": 0.5,
    "peak_bytes": 3 * 2**20,
    "comparisons": 1000,
    "share_of_ceilings": 0.25,
    "repeats": 3,
}


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (("--row", "quick"), ["'quick'", *ROWS]),
        (("--engine", "quick"), ["'quick'", *ENGINES]),
        (("-o", "score.boundary=zeros"), ["'score'"]),
        (("-o", "boundary=zeros"), ["'boundary'", "dataset.limit"]),
    ],
)
def test_what_cannot_be_measured_is_refused(invoke: Invoke, arguments: tuple[str, ...], values: list[str]) -> None:
    refused(invoke("bench", *arguments), 2, *values)


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_row_has_time_memory_rate_and_share(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {**RESULT, "peak_bytes": None, "share_of_ceilings": None, "comparisons": 0, "repeats": 1}
    _print({"torch": "2.6", "flags": ["avx2", "fma"], "flop_per_second": 1.25e9}, [RESULT, unknown])
    machine, lines = (part.splitlines() for part in capsys.readouterr().out.split("\n\n"))
    assert machine == ["torch: 2.6", "flags: avx2, fma", "flop_per_second: 1.25e+09"]
    assert cells_of(lines[1])[1:8] == ["torch", "40", "2", "0.5", "3 MiB", "2.00e+03", "25%"]
    assert cells_of(lines[2])[1:] == ["torch", "40", "2", "0.5"]


@pytest.mark.parametrize(
    ("more", "remark"),
    [
        ({"row": "scaling", "comparisons": 10**9}, "0.500"),
        ({"row": "large", "comparisons": 10**9}, "0.500"),
        ({"row": "naive", "ratio": 12.3}, "12"),
        ({"row": "soft", "ratio": 1.83, "extent": 11}, "1.83"),
        ({"row": "tasks", "task_seconds": 0.004, "call_seconds": 0.01, "bytes_per_second": 2e8}, "4.00"),
        ({"row": "workers", "workers": 2, "tasks": 8.0, "bytes": 610_000, "forecast": 23.2}, "a"),
        ({"row": "calibration", "ratio_to_slowest_k": 1.5}, "1.50"),
        (
            {
                "row": "training",
                "images_per_second": 99.6,
                "bare_images_per_second": 200.0,
                "ratio": 0.5,
                "precision": "bfloat16",
            },
            "100",
        ),
    ],
)
def test_remarks_begin_with_what_the_row_is_about(
    capsys: pytest.CaptureFixture[str], more: dict[str, Any], remark: str
) -> None:
    _print({}, [{**RESULT, **more}])
    assert cells_of(capsys.readouterr().out.splitlines()[-1])[-1].split()[0].removesuffix(",") == remark
