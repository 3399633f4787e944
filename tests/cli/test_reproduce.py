"""`mosaic reproduce`: what it announces and prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from command_results import done, notes, refused

Invoke = Callable[..., Any]

SMALL = ["--rows", "mnist-resnet-zeros", "--dataset", "digits", "-o", "dataset.limit=30", "-o", "network.channels=4"]
SMALL += ["-o", "network.blocks=1", "--epochs", "2", "--calibration-samples", "2"]


@pytest.mark.system
def test_a_table_is_announced_made_and_printed(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.reproduction.study.steps.LONG_ENOUGH", 0.05)
    announced = invoke("reproduce", "table2", *SMALL, "--samples", 2, "--dry-run", "--json")
    document = json.loads(announced.stdout)
    names = ["train", "network", "is", "calibrate", "calibrate soft-els", "els", "soft-els", "ls"]
    assert list(document["steps"]) == [f"mnist-resnet-zeros: {name}" for name in names]
    predicted = {name: seconds for name, seconds in document["steps"].items() if seconds is not None}
    assert list(predicted) == [f"mnist-resnet-zeros: {name}" for name in names if name != "network"]
    assert document["seconds"] == pytest.approx(sum(predicted.values()))
    assert 0 < document["seconds"] < 600
    assert document["done"] == []
    assert not Path("reproduction").exists()

    made = invoke("reproduce", "table2", *SMALL, "--samples", 2)
    assert made.exit_code == 0, made.stderr
    rest = [line for line in made.stderr.splitlines() if not line.startswith("mnist-resnet-zeros: ")]
    assert sum(bool(re.search(r"\d (s|min)\b", line)) for line in rest) == 1  # the time it took
    assert notes(made) == []
    assert made.stdout.splitlines()[-1] == "reproduction/cpu/table2.nc"
    lines = {line.split()[0]: line for line in made.stdout.splitlines()}
    with xr.open_dataset("reproduction/cpu/table2.nc") as actual:
        median = float(actual["pearson_r_median"].sel(row="mnist-resnet-zeros", theory="els"))
        gain = float(actual["soft_gain"].sel(row="mnist-resnet-zeros", end="median"))
    assert f"{median:.3f} [" in lines["mnist-resnet-zeros"]
    assert "(0.94)" in lines["mnist-resnet-zeros"]
    assert f"  {gain:.3f} [" in lines["mnist-resnet-zeros"]
    assert lines["mnist-resnet-zeros"].count("[") == 6  # four theories and two gains
    assert "  soft ELS  " in made.stdout.splitlines()[0]
    assert announced_in(made, "mnist-resnet-zeros: mean squared error of soft ELS minus that of ELS").count(",") == 1
    assert "[" not in lines["celeba-resnet-zeros"]  # no interval, since it has not been run

    output = invoke("inspect", "reproduction/cpu/mnist-resnet-zeros/comparison-els.nc").stdout
    assert re.search(rf"^  pearson_r_median: .*: {re.escape(f'{median:.4g}')}, ", output, re.MULTILINE)
    output = json.loads(invoke("inspect", "reproduction/cpu/table2.nc", "--json").stdout)
    assert output["recipes"]["mnist-resnet-zeros"]["training"]["configuration"]["epochs"] == 2

    refused(invoke("reproduce", "table2", *SMALL, "--samples", 3, "--dry-run"), 2, "samples: 2, now 3")
    with monkeypatch.context() as patched:
        patched.setattr("mosaic.storage.made_by.core_digest", lambda: "another")
        older = invoke("reproduce", "table2", *SMALL, "--samples", 2, "--dry-run", "--json")
    assert len(notes(older)) == 1
    assert json.loads(older.stdout)["other_code"] == [f"mnist-resnet-zeros: {name}" for name in names]

    again = invoke("reproduce", "table2", *SMALL, "--samples", 2, "--json")
    steps = [announced_in(result, "mnist-resnet-zeros: els") for result in (announced, made, older, again)]
    assert [bool(re.search(r"\d s$", step)) for step in steps] == [True, False, False, False]
    assert len(set(steps)) == 4  # to do with a time, to do, done by other code, done by this code
    assert json.loads(again.stdout)["path"] == "reproduction/cpu/table2.nc"


def announced_in(result: Any, step: str) -> str:
    """What is said of a step of the study before it starts."""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith(f"{step}: ")]
    return str(line.removeprefix(f"{step}: "))


@pytest.mark.parametrize(
    ("arguments", "code", "values"),
    [
        (["fig7"], 2, ["'fig7'", "'fig6'"]),
        (["table2", "--rows", "mnist"], 2, ["'mnist'", "mnist-unet-zeros"]),
        (["table2", "--preset", "gpu"], 2, ["'preset'", "'gpu'"]),
        (["table2", "--rows", "mnist-unet-zeros", "--data-dir", "nowhere"], 4, ["'mnist'"]),
        (["table2", "--data-dir", "nowhere"], 4, ["'mnist'"]),
        (["fig3", "--memory", "much"], 2, ["--memory", "'much'"]),
        (["fig6", *SMALL[2:], "--samples", "2"], 2, ["channels"]),
    ],
)
def test_what_cannot_be_reproduced_is_refused(
    invoke: Invoke, arguments: list[str], code: int, values: list[str]
) -> None:
    refused(invoke("reproduce", *arguments), code, *values)


def test_figures_print_their_file_only(invoke: Invoke) -> None:
    made = done(invoke("reproduce", "fig4", *SMALL))
    assert made.stdout == "reproduction/cpu/fig4.nc\n"
    made = invoke("reproduce", "memorization", *SMALL, "--samples", 2)
    with xr.open_dataset("reproduction/cpu/memorization.nc") as actual:
        distance = float(actual["nearest_train"].sel(factor=3.0).median())
    assert re.search(rf"(?<![\d.]){distance:.1f}(?![\d.]*\d)", made.stderr)
    assert made.stdout == "reproduction/cpu/memorization.nc\n"
