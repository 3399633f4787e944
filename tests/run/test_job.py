"""A run as a job: its identity, and where it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.job import job_of, start
from mosaic.run.prepare import prepare
from mosaic.storage.job import State
from mosaic.storage.output import Output

SETTINGS: dict[str, Any] = {"score": "els", "samples": 2, "steps": 2, "scales": "3"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "configuration.seed: 0, now 1"),
        ({"score_options": {"boundary": "circular"}}, 'configuration.score_options.boundary: "zeros", now "circular"'),
        ({"scales": "5"}, "scales: [3, 3], now [5, 5]"),
        ({"labels": "1"}, "labels: [-1, -1], now [1, 1]"),
    ],
)
def test_runs_that_give_other_numbers_differ(tiny: mosaic.DataSet, change: dict[str, Any], named: str) -> None:
    first = job_of(prepare(RunConfig(**SETTINGS), DataAccess(), dataset=tiny), Path("a.nc"))
    first.execute().close()
    other = job_of(prepare(RunConfig(**{**SETTINGS, **change}), DataAccess(), dataset=tiny), Path("a.nc"))
    assert (first.state(), other.state()) == (State.DONE, State.OTHER)
    assert named in other.differing(first.identity)


def test_scales_agree_however_they_are_named(tiny: mosaic.DataSet) -> None:
    named, listed = (
        job_of(prepare(RunConfig(**{**SETTINGS, "scales": scales}), DataAccess(), dataset=tiny), Path("a.nc"))
        for scales in ("3", "3,3")
    )
    assert listed.differing(named.identity) == []


def test_a_plan_with_an_output_is_kept_there(tiny: mosaic.DataSet) -> None:
    used: list[Output] = []
    config, output = RunConfig(**SETTINGS), Output(Path("a.nc"))
    in_memory = start(prepare(config, DataAccess(), dataset=tiny))
    assert not Path("a.nc").exists()
    with start(prepare(config, DataAccess(), dataset=tiny, output=output), started=used.append) as stored:
        np.testing.assert_array_equal(stored["state"], in_memory["state"])
    assert used == [output]
    assert Path("a.nc").is_file()


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.isel(step=[0, 1]),
        lambda run: run.isel(sample=[1, 0]),
        lambda run: run.isel(sample=0),
        lambda run: run.drop_vars("state"),
        lambda run: run.drop_vars("scale"),
    ],
)
def test_a_finished_run_that_was_changed_is_not_taken_for_the_whole(
    tiny: mosaic.DataSet, change: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    settings: dict[str, Any] = {"score": "is", "dataset": tiny, "steps": 3, "samples": 2, "progress": False}
    with mosaic.run(**settings, out="a.nc") as run:
        changed = change(run.load())
    changed.to_netcdf("a.nc")
    with pytest.raises(mosaic.DataError, match=r"a\.nc"):
        mosaic.run(**settings, out="a.nc", resume=True)
