"""Reproductions by name: what is stored, what it is made by, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.reproduce import TARGETS, execute_reproduction, prepare_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.study.target import Target
from mosaic.storage.job import ConfigMismatch


def test_every_variable_of_a_reproduction_has_a_name_and_units(folder: Path) -> None:
    for name in ("table2", "fig4", "fig5c"):
        if name != "table2":  # which the folder was made with
            mosaic.reproduce(name, ["fashion-resnet-zeros"], out=folder, **SMALL)
        actual = xr.load_dataset(folder / "cpu" / f"{name}.nc")
        assert actual.attrs["schema"] == "mosaic-reproduction/1"
        for key, variable in actual.variables.items():
            assert variable.attrs["long_name"], key
            assert variable.attrs["units"] in ("1", "pixel"), key
        records = json.loads(actual.attrs["records"])
        assert records["fashion-resnet-zeros: train"]["configuration"]["epochs"] == 2
        assert records["fashion-resnet-zeros: calibrate"]["configuration"]["samples"] == 2
        if name != "fig4":
            assert records["fashion-resnet-zeros: els"]["configuration"]["seed"] == 0
            assert records["fashion-resnet-zeros: els"]["versions"]["torch"] == torch.__version__


def test_other_settings_than_it_was_started_with_are_refused(folder: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=r"seed: 0, now 3"):
        mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **{**SMALL, "seed": 3})
    with pytest.raises(mosaic.UsageError, match="samples: 3, now 4"):
        mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **{**SMALL, "samples": 4})


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("table3", [], "'table3'"),
        ("table2", ["mnist-resnet"], r"'mnist-resnet'.*mnist-resnet-zeros"),
    ],
)
def test_what_there_is_not_is_refused(name: str, rows: list[str], message: str) -> None:
    with pytest.raises(mosaic.UsageError, match=message):
        mosaic.reproduce(name, rows, out="out")
    assert not Path("out").exists()


class Sizes(Target):
    """Sizes of letters.

    The first line is its title.
    """

    name = "sizes"
    default_rows = ("mnist-resnet-zeros",)

    def measure(self) -> xr.Dataset:
        self.study.records["a step"] = {"seed": self.study.config.seed}
        return xr.Dataset({"field_width": ("row", [3, 5])}, {"row": ["a", "b"]})

    def draw(self, measured: xr.Dataset) -> Figure:
        return Figure(figsize=(measured["field_width"].values[0], measured["field_width"].values[1]), dpi=20)


class Refused(Sizes):
    def measure(self) -> xr.Dataset:
        raise ConfigMismatch(Path("root/a/els.nc"), ["seed: 0, now 3", "steps: 5, now 7"])


def test_what_is_measured_is_stored_described_and_drawn() -> None:
    actual = execute_reproduction(Sizes(Study(ReproduceConfig(seed=4), Path("root/cpu"))))
    assert actual["field_width"].attrs["units"] == "pixel"
    assert actual.attrs["title"] == "Sizes of letters."
    assert json.loads(actual.attrs["rows"]) == ["mnist-resnet-zeros"]
    assert json.loads(actual.attrs["configuration"])["seed"] == 4
    assert json.loads(actual.attrs["records"]) == {"a step": {"seed": 4}}
    with xr.open_dataset("root/cpu/sizes.nc") as stored:
        xr.testing.assert_identical(stored, actual)
    with Image.open("root/cpu/sizes.png") as picture:
        assert picture.size == (60, 100)


def test_a_step_of_other_settings_is_refused_with_its_place_and_what_differs() -> None:
    target = Refused(Study(ReproduceConfig(), Path("root")))
    with pytest.raises(mosaic.UsageError, match=r"'root/a/els\.nc'.*seed: 0, now 3; steps: 5, now 7"):
        execute_reproduction(target)
    assert list(Path("root").iterdir()) == []


def test_an_out_that_is_not_a_folder_is_refused() -> None:
    Path("taken").write_text("a file")
    with pytest.raises(mosaic.UsageError, match="'taken/cpu'"):
        mosaic.reproduce("table2", ["mnist-resnet-zeros"], out="taken", **SMALL)
    assert Path("taken").read_text() == "a file"


def test_targets_are_prepared_by_their_names() -> None:
    study = Study(ReproduceConfig(), Path("root"))
    for name, kind in TARGETS.items():
        target = prepare_reproduction(name, study)
        assert type(target) is kind
        assert target.name == name
    with pytest.raises(mosaic.UsageError, match="'fig5'") as caught:
        prepare_reproduction("fig5", study)
    assert all(name in str(caught.value) for name in TARGETS)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("seed", -1),
        ("samples", 0),
        ("epochs", 0),
        ("calibration_samples", 0),
        ("preset", "gpu"),
        ("precision", "float16"),
    ],
)
def test_settings_out_of_their_range_are_refused(setting: str, value: object) -> None:
    with pytest.raises(mosaic.UsageError, match=rf"`?{setting}.*{value}"):
        mosaic.reproduce("fig3", out="out", **{setting: value})
    assert not Path("out").exists()
