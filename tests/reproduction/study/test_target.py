"""A table or figure: the rows it is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from matplotlib.figure import Figure
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.study.target import Target


class Sizes(Target):
    """How many rows there are."""

    name = "sizes"
    default_rows = ("mnist-resnet-zeros", "cifar10-resnet-zeros")

    def measure(self) -> xr.Dataset:
        return xr.Dataset({"done": len(self.rows)})

    def draw(self, measured: xr.Dataset) -> Figure:
        return Figure()


class Single(Sizes):
    most_rows = 1
    default_rows = ("mnist-resnet-zeros",)


class Fixed(Sizes):
    most_rows = 0
    default_rows = ()


def study_of(rows: str | None) -> Study:
    settings: dict[str, Any] = {**SMALL, "rows": rows}
    return Study(ReproduceConfig(**settings), Path("root"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("celeba-unet-zeros", ["celeba-unet-zeros"]),
        (" mnist-unet-zeros , celeba-unet-zeros,mnist-unet-zeros,", ["mnist-unet-zeros", "celeba-unet-zeros"]),
    ],
)
def test_rows_are_those_asked_for_each_once_and_in_order(rows: str, expected: list[str]) -> None:
    target = Sizes(study_of(rows))
    assert list(target.rows) == expected
    assert target.asked


@pytest.mark.parametrize("rows", [None, " , "])
def test_where_none_are_asked_for_rows_are_the_usual_ones(rows: str | None) -> None:
    target = Sizes(study_of(rows))
    assert target.rows == Sizes.default_rows
    assert not target.asked


def test_more_rows_than_it_can_be_made_from_are_refused() -> None:
    assert Single(study_of("celeba-unet-zeros")).rows == ("celeba-unet-zeros",)
    with pytest.raises(mosaic.UsageError, match=r"'sizes'.* 1 .*celeba-unet-zeros, mnist-unet-zeros"):
        Single(study_of("celeba-unet-zeros,mnist-unet-zeros"))
    assert Fixed(study_of(None)).rows == ()
    with pytest.raises(mosaic.UsageError, match="celeba-unet-zeros"):
        Fixed(study_of("celeba-unet-zeros"))


def test_a_number_of_trainings_that_it_cannot_use_is_refused() -> None:
    study = Study(ReproduceConfig(**SMALL, trainings=2), Path("root"))
    with pytest.raises(mosaic.UsageError, match="`trainings`"):
        Sizes(study)

    class Several(Sizes):
        takes_trainings = True

    assert Several(study).study.config.trainings == 2


def test_an_unknown_row_is_refused() -> None:
    with pytest.raises(mosaic.UsageError, match="'svhn-resnet-zeros'"):
        Sizes(study_of("mnist-unet-zeros,svhn-resnet-zeros"))


def test_its_steps_are_those_of_its_rows_one_row_after_the_other() -> None:
    names = [step.name.partition(": ") for step in Sizes(study_of(None)).steps()]
    rows = [row for row, _, _ in names]
    assert rows == sorted(rows, key=Sizes.default_rows.index)
    assert {name for row, _, name in names if row == "cifar10-resnet-zeros"} == {
        *("train", "calibrate", "network", "is", "els", "ls")
    }


def test_the_experiment_of_a_row_shares_the_study() -> None:
    target = Sizes(study_of(None))
    experiment = target.experiment("celeba-unet-zeros")
    assert experiment.study is target.study
    assert experiment.folder == Path("root/celeba-unet-zeros")
