"""Arguments of public functions: checked against their annotations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic.interfaces.arguments import checked


class Settings(mosaic.Options):
    steps: int = 3
    epochs: int = 4


@checked(Settings)
def work(
    name: str,
    data: str | mosaic.DataSet | None = None,
    *,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    seconds: str | float = 1.0,
    rows: str | Sequence[str] = (),
    metrics: str | Collection[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: mosaic.Progress | bool = True,
    **settings: Any,
) -> dict[str, Any]:
    return {"name": name, "out": out, "resume": resume, "seconds": seconds, **settings}


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("name", [3, None, b"x", Path("x")]),
        ("data", [3, torch.zeros(2), {"a": 1}]),
        ("out", [3, [], b"x", "\0"]),
        ("resume", [1, "yes", None, [], np.zeros(3)]),
        ("seconds", [None, [], True, np.zeros(2)]),
        ("rows", [3, ["a", 3], None, {"a"}]),
        ("metrics", [3, ["a", 3], None, {"a": 1}, b"x", np.array("a"), np.array([["a"]])]),
        ("options", ["boundary=zeros", {"a": 3}, {3: {}}, [1]]),
        ("progress", [3, None, "no", int, torch.zeros(2)]),
    ],
)
def test_an_argument_of_another_kind_is_refused_by_name(argument: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(mosaic.UsageError, match=f"`{argument}`"):
            work(**{"name": "x", argument: value})


def test_what_is_annotated_is_passed_on(tiny: mosaic.DataSet) -> None:
    given: dict[str, Any] = {"out": Path("a.nc"), "resume": np.bool_(True), "seconds": 3, "steps": 5}
    assert work("x", tiny, rows=["a"], options={"mse": {}}, progress=print, **given) == {"name": "x", **given}


@pytest.mark.parametrize("names", ["a", ["a"], {"a"}, {"a": 1}.keys(), np.array(["a"]), ()])
def test_a_collection_is_of_any_kind(names: Any) -> None:
    assert work("x", metrics=names)["name"] == "x"


def test_an_argument_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(mosaic.UsageError, match=r"work.*'reusme'.*'resume'"):
        work("x", reusme=True)
    with pytest.raises(mosaic.UsageError, match=r"'step'.*'steps'"):
        work("x", step=1)
    with pytest.raises(TypeError, match="name"):
        work()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda tiny: mosaic.run(3, tiny), "`score`"),
        (lambda tiny: mosaic.run("els", tiny, memory=[]), "`memory`"),
        (lambda tiny: mosaic.train("resnet", tiny, out=3), "`out`"),
        (lambda tiny: mosaic.calibrate(3), "`checkpoint`"),
        (lambda tiny: mosaic.leaderboard(datasets="digits"), "'dataset'"),
        (lambda tiny: mosaic.reproduce("table2", out="x", data_dir=1), "`data_dir`"),
        (lambda tiny: mosaic.compare(tiny, tiny), "`run`"),
        (lambda tiny: mosaic.compare(1, 2, metric="mse"), "'metrics'"),
        (lambda tiny: mosaic.flow("els"), r"mosaic\.score"),
        (lambda tiny: mosaic.open(3), "`path`"),
        (lambda tiny: mosaic.load_checkpoint([]), "`folder`"),
        (lambda tiny: mosaic.registry().get("score", []), "`name`"),
        (lambda tiny: mosaic.registry().make("score", "els", 3, tiny), r"score\.els"),
    ],
)
def test_every_public_function_checks_its_arguments(tiny: mosaic.DataSet, call: Any, named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=named):
        call(tiny)


@pytest.mark.parametrize(
    "settings",
    [
        {"init": f"{'x' * 300}.nc"},
        {"scales": f"{'x' * 300}.json"},
        {"dataset": "folder", "dataset_options": {"path": "x" * 300}},
        {"score": "network", "score_options": {"checkpoint": "x" * 300}},
        {"out": f"{'x' * 300}.nc"},
    ],
)
def test_a_path_that_the_system_refuses_is_named_in_a_sentence(settings: dict[str, Any]) -> None:
    with pytest.raises(mosaic.MosaicError, match=r"x{100}"):
        mosaic.run(**settings)
