"""Theories against the run of ELS itself: numbers of the runs in a row's folder, and what is said of them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.evaluate.statistics import interval_of
from mosaic.reproduction.paper.els_machine import compare_with_els, sentence_of
from mosaic.reproduction.paper.table2 import table_of

ROW = "fashion-resnet-zeros"


@pytest.fixture(scope="module")
def row(made: Path) -> xr.Dataset:
    return xr.open_dataset(made / "cpu" / "table2.nc").sel(row=ROW)


def test_a_theory_is_compared_with_the_stored_run_of_els(made: Path, row: xr.Dataset) -> None:
    folder = made / "cpu" / ROW
    images = {name: mosaic.open(folder / f"{name}.nc")["image"].values for name in ("els", "soft-els", "ls", "is")}
    for theory in ("soft-els", "ls", "is"):
        pairs = zip(images[theory], images["els"], strict=True)
        r = [np.corrcoef(own.ravel(), machine.ravel())[0, 1] for own, machine in pairs]
        own = row.sel(theory=theory)
        np.testing.assert_allclose(own["pearson_r_with_els"], r, rtol=1e-5)
        np.testing.assert_allclose(own["r2_with_els"], np.square(r), rtol=1e-5)
        compared = mosaic.compare(folder / f"{theory}.nc", folder / "els.nc", metrics=["pearson_r", "R2"])
        for name in ("pearson_r", "R2"):
            np.testing.assert_array_equal(own[f"{name}_with_els"], compared[name][0])
            for end in ("median", "low", "high"):
                assert float(own[f"{name}_with_els_{end}"]) == float(compared[f"{name}_{end}"][0])
            gained = (own[f"{name}_with_els"] - own[name]).values
            assert own[f"{name}_excess"].values.tolist() == list(interval_of(gained))
    assert row.sel(theory="els")["pearson_r_with_els"].isnull().all()  # its own image
    assert row.sel(theory="els")["pearson_r_excess"].isnull().all()


def test_what_was_not_run_is_left_out(made: Path, tmp_path: Path, row: xr.Dataset) -> None:
    shutil.copytree(made / "cpu" / ROW, tmp_path / ROW, ignore=shutil.ignore_patterns("network"))
    (tmp_path / ROW / "is.nc").unlink()
    assert compare_with_els(tmp_path / ROW, ("r2",)).keys() == {"soft-els", "ls"}
    table = table_of(tmp_path).sel(row=ROW)
    assert table["pearson_r_with_els"].sel(theory="is").isnull().all()
    xr.testing.assert_identical(
        table["pearson_r_excess"].sel(theory="ls").drop_attrs(), row["pearson_r_excess"].sel(theory="ls").drop_attrs()
    )
    assert "IS" not in sentence_of(table)
    (tmp_path / ROW / "els.nc").unlink()
    assert compare_with_els(tmp_path / ROW, ("r2",)) == {}
    assert sentence_of(table_of(tmp_path).sel(row=ROW)) == ""


def test_it_is_said_beside_what_they_reach_with_the_network(row: xr.Dataset) -> None:
    numbers = [float(number) for number in re.findall(r"-?\d\.\d{3}", sentence_of(row))]
    order = ["soft-els", "ls", "is"]
    expected = [
        *(
            float(row[f"pearson_r_with_els_{end}"].sel(theory=name))
            for name in order
            for end in ("median", "low", "high")
        ),
        *(float(row[f"pearson_r_{end}"].sel(theory=name)) for name in order for end in ("median", "low", "high")),
        *row["pearson_r_excess"].sel(theory=order).values.ravel(),
    ]
    assert numbers == pytest.approx(expected, abs=6e-4)
