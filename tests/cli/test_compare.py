"""`mosaic compare`: a table of metrics, a file of values, and two pictures."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from command_results import done, notes, refused
from matplotlib.figure import Figure
from PIL import Image

import mosaic
from mosaic.view import images

Invoke = Callable[..., Result]


def drawn(path: Path) -> bool:
    with Image.open(path) as picture:
        return bool(np.ptp(np.asarray(picture.convert("L"))) > 100)


def test_compare_prints_a_table_and_writes_values_and_pictures(invoke: Invoke, tmp_path: Path) -> None:
    few = ("-o", "dataset.limit=30", "--steps", 3, "--scales", "3")
    for score, more in (("els", ("--samples", 4)), ("ls", ("--init", "els.nc")), ("is", ("--init", "els.nc"))):
        done(invoke("run", "--score", score, *few, *more, "--out", f"{score}.nc"))
    table = done(invoke("compare", "els.nc", "ls.nc", "--baseline", "is.nc")).stdout.splitlines()
    assert table[0].split()[-6:] == ["els", "ls", "is", "els", "-", "is"]
    assert [line.split()[0] for line in table[1:]] == [
        "pearson_r", "r2", "R2", "cosine", "mse", "nearest_train", "memorized"
    ]  # fmt: skip
    with xr.open_dataset("comparison-001.nc") as stored:
        assert f"{float(stored['pearson_r_median'][0]):.3f}" in table[1]
    assert drawn(tmp_path / "comparison-001.png")
    assert drawn(tmp_path / "comparison-001-agreement.png")
    alone = done(invoke("compare", "els.nc", "ls.nc", "--metrics", "mse,pearson_r", "--out", "c.nc")).stdout
    assert "is" not in alone.split("\n")[0].split()
    wider = ("--metrics", "local_consistency, mse", "-o", "k=5")
    assert "local_consistency" in done(invoke("compare", "els.nc", "ls.nc", *wider, "--out", "d.nc")).stdout
    refused(invoke("compare", "els.nc", "ls.nc", "--out", "c.nc"), 2, "'c.nc'", "--overwrite")
    refused(invoke("compare", "els.nc", "ls.nc", "--metrics", "mze"), 3, "'mze'", "'mse'")
    refused(invoke("compare", "els.nc", "ls.nc", "-o", "mse.k=3"), 2, "metric.mse", "'k'")
    refused(invoke("compare", "els.nc", "no.nc"), 4, "'no.nc'")


def test_all_files_of_a_comparison_are_written_or_none(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(invoke("run", "-o", "dataset.limit=30", "--steps", 2, "--samples", 2, "--scales", "3", "--out", "a.nc"))
    before = set(tmp_path.iterdir())
    write = images.write_figure

    def full(figure: Figure, temporary: Path) -> None:
        if "agreement" in temporary.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(figure, temporary)

    monkeypatch.setattr(images, "write_figure", full)
    refused(invoke("compare", "a.nc", "a.nc", "--metrics", "mse", "--out", "c.nc"), 2, "'c-agreement.png'")
    assert set(tmp_path.iterdir()) == before


def test_compare_states_what_chance_gives(invoke: Invoke) -> None:
    few = ("--dataset", "pairs", "-o", "dataset.count=12", "--steps", 2, "--scales", "3")
    done(invoke("run", *few, "--samples", 3, "--out", "els.nc"))
    done(invoke("run", *few, "--init", "els.nc", "--score", "is", "--out", "is.nc"))
    consistency = ("--metrics", "consistency")
    table = done(invoke("compare", "is.nc", "els.nc", *consistency)).stdout
    (row,) = [line for line in table.splitlines() if line.startswith("consistency ")]
    assert "0.333" in row.partition(")")[0]
    actual = json.loads(done(invoke("compare", "is.nc", "els.nc", *consistency, "--json")).stdout)
    assert actual["metrics"]["consistency"]["chance"] == pytest.approx(1 / 3)


def test_compare_refuses_runs_from_other_noise(invoke: Invoke, tmp_path: Path) -> None:
    few = ("-o", "dataset.limit=30", "--steps", 2, "--samples", 2, "--scales", "3")
    done(invoke("run", *few, "--out", "a.nc"))
    done(invoke("run", *few, "--out", "b.nc", "--seed", 1))
    refused(invoke("compare", "a.nc", "b.nc"), 2, "2 of 2", "--init")
    assert not (tmp_path / "comparison-001.nc").exists()


def test_a_run_can_be_compared_with_itself_but_not_replaced_by_it(invoke: Invoke) -> None:
    done(invoke("run", "-o", "dataset.limit=30", "--steps", 2, "--samples", 2, "--scales", "3", "--out", "a.nc"))
    done(invoke("compare", "a.nc", "a.nc", "--baseline", "a.nc", "--out", "same.nc"))
    refused(invoke("compare", "a.nc", "a.nc", "--out", "a.nc", "--overwrite"), 2, "--out", "'a.nc'")
    mosaic.open("a.nc").close()
    refused(invoke("compare", "a.nc", "."), 4, "'.'")


def test_numbers_that_json_cannot_hold_are_null(invoke: Invoke) -> None:
    flat = ("--dataset", "black-white", "--score", "is", "--steps", 2, "--samples", 2)
    done(invoke("run", *flat, "--out", "a.nc"))
    result = done(invoke("compare", "a.nc", "a.nc", "--json", "--metrics", "pearson_r,mse"))
    actual = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    assert actual["metrics"]["pearson_r"]["run"]["median"] is None
    assert actual["metrics"]["mse"]["run"]["median"] == 0


def test_runs_on_different_data_are_noted(invoke: Invoke) -> None:
    few = ("run", "--steps", 2, "--scales", "3")
    done(invoke(*few, "-o", "dataset.limit=30", "--samples", 2, "--out", "a.nc"))
    done(invoke(*few, "-o", "dataset.limit=20", "--init", "a.nc", "--out", "b.nc"))
    assert len(notes(done(invoke("compare", "a.nc", "b.nc", "--metrics", "mse")))) == 1
    assert notes(done(invoke("compare", "a.nc", "a.nc", "--metrics", "mse"))) == []


def test_a_run_of_a_data_set_object_is_compared_without_it(invoke: Invoke, tiny: mosaic.DataSet) -> None:
    mosaic.run("els", tiny, samples=2, steps=2, scales="3", out="a.nc").close()
    result = done(invoke("compare", "a.nc", "a.nc"))
    assert "nearest_train, memorized" in result.stderr


def test_compare_leaves_out_what_needs_a_training_set_that_is_not_there(invoke: Invoke, tiny_file: Path) -> None:
    data = ("--dataset", "file", "-o", f"dataset.path={tiny_file}", "--scales", "3", "--steps", 2)
    done(invoke("run", *data, "--samples", 2, "--out", "a.nc"))
    done(invoke("run", "--score", "ls", *data, "--init", "a.nc", "--out", "b.nc"))
    tiny_file.unlink()
    result = done(invoke("compare", "a.nc", "b.nc"))
    assert "nearest_train, memorized" in result.stderr
    assert "nearest_train" not in result.stdout
    refused(invoke("compare", "a.nc", "b.nc", "--metrics", "mse,memorized", "--out", "d.nc"), 4, tiny_file.name)
    assert not Path("d.nc").exists()
