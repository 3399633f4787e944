"""Table 2: what is gathered of the rows that were run, and what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic.reproduction.paper.table2 import Table2, draw_table, table_of
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import PAPER_THEORIES, ROWS
from mosaic.reproduction.study.study import Study
from mosaic.storage.schema import COMPARISON_SCHEMA


def test_rows_that_were_not_run_are_missing_and_what_was_is_recorded(made: Path) -> None:
    actual = xr.open_dataset(made / "cpu" / "table2.nc")
    assert actual["row"].values[actual["done"].values].tolist() == ["fashion-resnet-zeros"]
    others = actual.sel(row=[name for name in ROWS if name != "fashion-resnet-zeros"])
    assert others["pearson_r_median"].isnull().all()
    assert not others["paper"].sel(theory=list(PAPER_THEORIES)).isnull().any()
    recipe = json.loads(actual.attrs["recipes"])["fashion-resnet-zeros"]
    assert recipe["calibration"]["configuration"]["samples"] == 2
    assert recipe["soft_calibration"]["configuration"]["score"] == "soft-els"
    for theory in ("ls", "soft-els"):
        assert "torch" in recipe["runs"][theory]["versions"]
    assert recipe["training"]["configuration"]["epochs"] == 2
    assert recipe["training"]["versions"]["torch"] == torch.__version__
    for role in ("run", "reference", "baseline", "ls", "soft-els"):
        assert recipe["runs"][role]["configuration"]["seed"] == 0
    assert json.loads(actual.attrs["configuration"])["samples"] == 3
    assert {"mosaic_version", "torch_version", "command_line", "created"} <= set(actual.attrs)


def test_a_row_whose_data_are_not_there_says_so() -> None:
    with pytest.raises(mosaic.DataError, match="mnist"):
        mosaic.reproduce("table2", ["mnist-resnet-zeros"], out="out", data_dir="nowhere")


def keep_comparison(root: Path, row: str, theory: str, samples: int, r: float) -> None:
    """Keep a made-up comparison with a baseline: pearson_r is `r` of the run and r / 2 of the baseline."""
    values = np.stack([np.full(samples, r), np.full(samples, r / 2)])
    variables: dict[str, Any] = {}
    for number, name in enumerate(("pearson_r", "r2", "R2")):
        variables[name] = (("compared", "sample"), values + number)
        for end, off in (("median", 0.0), ("low", -0.02), ("high", 0.04)):
            variables[f"{name}_{end}"] = ("compared", values[:, 0] + number + off)
    gains = {
        f"{name}_gain{end}": sign * r / 2 + off
        for name, sign in (("pearson_r", 1), ("mse", -1))
        for end, off in (("", 0.0), ("_low", -0.1), ("_high", 0.1))
    }
    runs = {role: {"created": f"{role} of {theory}"} for role in ("run", "reference", "baseline")}
    attrs = {"schema": COMPARISON_SCHEMA, "runs": json.dumps(runs), "training": json.dumps({"epochs": samples})}
    (root / row).mkdir(parents=True, exist_ok=True)
    coords = {"compared": ["run", "baseline"]}
    xr.Dataset(variables | gains, coords, attrs).to_netcdf(root / row / f"comparison-{theory}.nc")


@pytest.fixture
def table(tmp_path: Path) -> xr.Dataset:
    """A row of four samples and a row of two without soft ELS, and a row of which LS has not been compared yet."""
    for row, samples, r in (("mnist-unet-zeros", 4, 0.8), ("celeba-resnet-zeros", 2, 0.4)):
        keep_comparison(tmp_path, row, "els", samples, r)
        keep_comparison(tmp_path, row, "ls", samples, r - 0.1)
    keep_comparison(tmp_path, "mnist-unet-zeros", "soft-els", 4, 0.9)
    keep_comparison(tmp_path, "mnist-resnet-zeros", "els", 4, 0.9)
    return table_of(tmp_path)


def test_theories_are_gathered_from_the_comparisons_of_each_row(table: xr.Dataset) -> None:
    assert table["row"].values[table["done"].values].tolist() == ["mnist-unet-zeros", "celeba-resnet-zeros"]
    done = table.sel(row=["mnist-unet-zeros", "celeba-resnet-zeros"])
    assert done["theory"].values.tolist() == ["els", "soft-els", "ls", "is"]
    expected = [[0.8, 0.9, 0.7, 0.4], [0.4, np.nan, 0.3, 0.2]]  # that of IS is the baseline of ELS
    for number, name in enumerate(("pearson_r", "r2", "R2")):
        np.testing.assert_allclose(done[f"{name}_median"], np.array(expected) + number)
        np.testing.assert_allclose(done[f"{name}_high"], np.array(expected) + number + 0.04)
        np.testing.assert_allclose(done[name][0], np.repeat(np.array(expected[0])[:, None] + number, 4, 1))
        np.testing.assert_allclose(done[name][1, :, :2], np.repeat(np.array(expected[1])[:, None] + number, 2, 1))
        assert done[name][1, :, 2:].isnull().all()  # two samples fewer
    np.testing.assert_allclose(done["gain"], [[0.4, 0.3, 0.5], [0.2, 0.1, 0.3]])
    assert table["gain"].isnull().sum() == 3 * 9
    np.testing.assert_allclose(done["soft_gain"], [[0.45, 0.35, 0.55], [np.nan] * 3])
    np.testing.assert_allclose(done["soft_gain_mse"], [[-0.45, -0.55, -0.35], [np.nan] * 3])
    recipe = json.loads(table.attrs["recipes"])["celeba-resnet-zeros"]
    assert recipe["training"] == {"epochs": 2}
    assert {role: run["created"] for role, run in recipe["runs"].items()} == {
        **{role: f"{role} of els" for role in ("run", "reference", "baseline")},
        "ls": "run of ls",
    }


def test_medians_are_drawn_beside_the_papers_in_the_order_of_the_table(table: xr.Dataset, tmp_path: Path) -> None:
    figure = draw_table(table)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["MNIST UNet zeros", "CelebA ResNet zeros"]
    crosses = [line for line in axis.get_lines() if line.get_marker() == "x" and len(line.get_xdata())]
    papers = np.array([line.get_xdata() for line in crosses]).T
    np.testing.assert_array_equal(papers, [ROWS["mnist-unet-zeros"].paper, ROWS["celeba-resnet-zeros"].paper])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["the paper's", "ELS", "soft ELS", "LS", "IS"]
    dots = [line.get_xdata() for line in axis.get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    np.testing.assert_allclose(np.array(dots).T, [[0.8, 0.9, 0.7, 0.4], [0.4, np.nan, 0.3, 0.2]])
    assert axis.get_xlim() == (0, 1)
    check_readable(figure)


def test_negative_correlations_are_within_the_picture(table: xr.Dataset) -> None:
    table["pearson_r_low"].values[0, 3] = -0.3
    assert draw_table(table).axes[0].get_xlim() == (-0.3, 1)


def test_a_folder_without_comparisons_has_the_papers_values_only(tmp_path: Path) -> None:
    empty = table_of(tmp_path)
    assert not empty["done"].any()
    assert empty["pearson_r"].shape == (11, 4, 0)
    assert empty["pearson_r_median"].isnull().all()
    papers = empty["paper"].sel(theory=["els", "ls", "is"])
    np.testing.assert_array_equal(papers, [row.paper for row in ROWS.values()])
    assert empty["paper"].sel(theory="soft-els").isnull().all()


class Partial(Table2):
    """Rows of MNIST have digits for their data; those of others are not there."""

    def experiment(self, row: str) -> Experiment:
        dataset = "digits" if row.startswith("mnist-resnet") else None
        config = self.study.config.model_copy(update={"dataset": dataset})
        return Experiment(ROWS[row], replace(self.study, config=config))


def test_rows_whose_data_are_not_there_are_left_out_unless_they_were_asked_for() -> None:
    nowhere = DataAccess(Path("nowhere"))
    usual = Partial(Study(ReproduceConfig(), Path("root"), nowhere))
    left_out = [note.split()[0] for note in usual.notes()]
    assert left_out == [name for name in ROWS if not name.startswith("mnist-resnet")]
    assert {step.name.partition(":")[0] for step in usual.steps()} == {"mnist-resnet-zeros", "mnist-resnet-circular"}
    asked = Partial(Study(ReproduceConfig(rows="mnist-resnet-zeros,celeba-unet-zeros"), Path("root"), nowhere))
    with pytest.raises(mosaic.DataError, match="celeba"):
        asked.notes()
    with pytest.raises(mosaic.DataError, match="mnist"):
        Table2(Study(ReproduceConfig(), Path("root"), nowhere)).notes()
