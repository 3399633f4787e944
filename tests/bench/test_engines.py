"""`mosaic bench`: its yardstick is right, it measures what it says, and its failures are sentences."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest
import torch

import mosaic
from mosaic.bench.engines import ROWS, Case, cases, machine, measure, pairs, share_of_ceilings
from mosaic.engine.naive import naive_els
from mosaic.registry.data import load_dataset

Invoke = Callable[..., Any]
SMALL = {"dataset": "digits", "images": 40, "repeats": 2}


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_naive_page_agrees_with_the_oracle(k: int, channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(9, channels, 6, 5, generator=generator) * 2 - 1
    level = mosaic.Level(0.8, 0.6)
    x = 0.8 * images[:2] + 0.6 * torch.randn(2, channels, 6, 5, generator=generator)
    actual = naive_els(x, images, level, k, product=True)
    expected = [oracle.els(sample.double().numpy(), images.double().numpy(), 0.8, 0.6, k) for sample in x]
    np.testing.assert_allclose(actual, np.stack(expected), rtol=0, atol=1e-5)


def test_comparisons_are_pairs_of_windows_that_hang_over_alike() -> None:
    for size, k in ((6, 3), (5, 9), (4, 1)):
        places = [(oracle.overhang(i, size, k // 2)) for i in range(size)]
        alike = sum(p == q for p in places for q in places)
        assert pairs((1, 1, size, size), k) == alike**2


def test_large_images_are_64_pixels_wide_whatever_the_data_set() -> None:
    large = cases(["large"], ["compiled", "torch"], [1], {**SMALL, "images": 500})
    assert [case.scale for case in large] == 2 * [3, 9, 17, 33]
    assert {case.engine for case in large} == {"compiled", "torch"}
    (options,) = {json.dumps(case.dataset_options, sort_keys=True) for case in large}
    dataset = load_dataset("shapes", json.loads(options), mosaic.DataAccess())
    assert dataset.images.shape == (100, 3, 64, 64)


def soft_pairs(k: int) -> int:
    """Comparisons of one sample by soft ELS: pixels nearer to the border than b meet those just as near only."""
    near = round(k / math.sqrt(2 * math.pi))
    return 40 * (2 * near + (8 - 2 * near) ** 2) ** 2


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_measured(row: str) -> None:
    case = cases([row], ["torch"], [2], SMALL)[0]
    actual = measure(case)
    assert len(actual["seconds"]) >= 1
    assert all(0 < seconds < 60 for seconds in actual["seconds"])
    assert actual["peak_bytes"] is None or actual["peak_bytes"] > 2**25
    expected = {
        "flow": 2 * 40 * sum(pairs((8, 8), k) for k in actual["scales"] or ()),
        "ls": 40 * 64,
        "is": 8 * 40,
        "calibration": 40 * sum(pairs((8, 8), k) for k in (3, 5, 7)),
        "scaling": 40 * pairs((8, 8), 9),
        "soft": soft_pairs(5),
        "large": 40 * pairs((64, 64), 3),
        "naive": 40 * pairs((8, 8), 3),
        "training": 0,
        "tasks": 0,
        "workers": 2 * 8 * 40 * pairs((8, 8), 9),
    }
    assert actual["comparisons"] == expected[row]
    pixels = {"is": 64, "ls": 9, "scaling": 81, "large": 3 * 9, "naive": 9}
    if row in pixels:
        assert actual["flop"] == 2 * actual["comparisons"] * pixels[row]
    if row == "flow":
        assert actual["flop"] == 2 * 40 * sum(2 * k**2 * pairs((8, 8), k) for k in actual["scales"])
    if row == "soft":
        assert actual["extent"] == 2 * round(2.5 * 5 / math.sqrt(2 * math.pi)) + 1
        assert 0.05 < actual["ratio"] < 100
    if row == "naive":
        ratio = np.median(actual["naive_seconds"]) / np.median(actual["seconds"])
        assert math.isclose(actual["ratio"], ratio)


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
def test_workers_are_measured_beside_what_is_forecast() -> None:
    *_, two = [case for case in cases(["workers"], ["torch"], [1], SMALL) if case.samples == 8]
    assert two.workers == 2
    actual = measure(two)
    assert actual["tasks"] == 4  # eight batches of two steps
    assert actual["bytes"] is None or actual["bytes"] > 4 * 64 * 8
    assert actual["forecast"] > 0
    tasks = measure(cases(["tasks"], ["torch"], [1], SMALL)[0])
    assert tasks["task_seconds"] * 500 == pytest.approx(np.median(tasks["seconds"]))
    assert 1e-4 < tasks["call_seconds"] < 10
    assert 1e6 < tasks["bytes_per_second"] < 1e12


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
@pytest.mark.parametrize(
    ("fault", "code"),
    [({"dataset": "nothing"}, 3), ({"dataset": "mnist", "data_dir": "nowhere"}, 4), ({"labels": "77"}, 2)],
)
def test_a_measurement_that_fails_says_why(fault: dict[str, str], code: int) -> None:
    with pytest.raises(mosaic.MosaicError, match=r"'flow' failed: .+") as caught:
        measure(Case.model_validate({**SMALL, "row": "flow", **fault}))
    assert caught.value.exit_code == code


@pytest.mark.system
def test_the_share_of_the_ceilings_is_the_time_they_allow_over_the_time_taken() -> None:
    used = {"flop_per_second": 4e9, "exp2_per_second": 1e8}
    result = {"flop": 8e9, "comparisons": 10**8, "median_seconds": 6.0}
    assert share_of_ceilings(result, used) == pytest.approx(0.5)
    assert share_of_ceilings({**result, "flop": 0}, used) is None
    actual = machine()
    assert 1e8 < actual["flop_per_second"] < 1e15
    assert 1e7 < actual["exp2_per_second"] < 1e14


@pytest.mark.system
@pytest.mark.usefixtures("quick_processes")
def test_fewer_images_than_samples_can_be_measured() -> None:
    assert measure(Case(row="is", dataset="digits", images=3, samples=8, repeats=1))["comparisons"] == 24


@pytest.mark.slow
def test_the_command_prints_a_table_or_one_document(invoke: Invoke) -> None:
    arguments = ("bench", "--dataset", "digits", "--images", 40, "--repeats", 1, "--row", "naive")
    document = json.loads(invoke(*arguments, "--engine", "torch", "--json").stdout)
    assert document["machine"]["torch"] == torch.__version__
    assert [row["row"] for row in document["rows"]] == 3 * ["naive"]
    arguments = (*arguments[:-1], "is")
    machine, table = invoke(*arguments).stdout.split("\n\n")
    assert f"torch: {torch.__version__}" in machine.splitlines()
    (row,) = table.splitlines()[1:]
    assert row.split()[0].startswith("IS")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--row", "fast"), "'fast'"), (("--engine", "fast"), "'fast'"), (("-o", "score.fast=1"), "'score'")],
)
def test_an_unknown_name_is_refused(invoke: Invoke, arguments: tuple[str, str], named: str) -> None:
    result = invoke("bench", *arguments)
    assert result.exit_code == 2
    assert named in result.stderr
