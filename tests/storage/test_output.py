"""Where a result is to be kept: what is refused there, what is resumed, and a job started there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import mosaic
from mosaic.disk.failures import WriteError
from mosaic.interfaces.data_source import DataAccess
from mosaic.progress import silent
from mosaic.run.config import RunConfig
from mosaic.run.job import job_of
from mosaic.run.prepare import prepare
from mosaic.storage.output import Output, start_job

NAME = Path("run.nc")


@pytest.fixture
def finished(tiny: mosaic.DataSet) -> Path:
    mosaic.run("is", tiny, steps=2, samples=1, seed=7, out=NAME).close()
    return NAME


def test_a_result_is_resumed_or_replaced_but_not_both() -> None:
    with pytest.raises(mosaic.UsageError, match=r"`resume`.*`overwrite`"):
        Output(NAME, resume=True, overwrite=True)


def test_a_finished_file_is_refused_unless_resumed_or_replaced(finished: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=r"run\.nc"):
        Output(finished).check()
    Output(finished, resume=True).check()
    Output(finished, overwrite=True).check()


def test_unfinished_work_is_refused_unless_resumed_or_replaced() -> None:
    Path("run.nc.parts").mkdir()
    with pytest.raises(mosaic.UsageError, match=r"run\.nc\.parts.*`resume`"):
        Output(NAME).check()
    Output(NAME, resume=True).check()
    Output(NAME, overwrite=True).check()


def test_a_file_beside_it_is_refused_unless_the_result_is_there_to_resume(tmp_path: Path) -> None:
    Path("run.png").touch()
    for resume in (False, True):
        with pytest.raises(mosaic.UsageError, match=r"run\.png"):
            Output(NAME, resume=resume, beside=(".png",)).check()
    Output(NAME).check()
    Output(NAME, overwrite=True, beside=(".png",)).check()
    assert [path.name for path in tmp_path.iterdir()] == ["run.png"]  # checking writes nothing


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(mosaic.UsageError, match="nowhere"):
        Output(Path("nowhere") / NAME).check()


@pytest.mark.parametrize("place", [".", "/", "./"])
def test_a_folder_without_a_name_is_refused(place: str) -> None:
    with pytest.raises(mosaic.UsageError, match="`out`"):
        Output(Path(place))


def test_settings_are_kept_for_what_is_resumed_only(finished: Path) -> None:
    kept = Output(finished, resume=True).kept_settings(RunConfig)
    assert (kept["score"], kept["steps"], kept["seed"]) == ("is", 2, 7)
    assert Output(finished).kept_settings(RunConfig) == {}
    assert Output(Path("other.nc"), resume=True).kept_settings(RunConfig) == {}


def test_what_cannot_be_resumed_has_no_settings(finished: Path) -> None:
    with pytest.raises(mosaic.UsageError, match="score"):
        Output(finished, resume=True).kept_settings(mosaic.Options)  # settings that there are no longer
    finished.write_bytes(b"junk")
    with pytest.raises(mosaic.DataError):
        Output(finished, resume=True).kept_settings(RunConfig)


def test_a_job_gives_the_same_numbers_in_memory_and_in_a_file(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    job_at = partial(job_of, prepare(RunConfig(score="is", steps=2, samples=2), DataAccess(), dataset=tiny))
    in_memory = start_job(job_at, None, silent)
    assert not list(tmp_path.rglob("*.nc"))
    with start_job(job_at, Output(NAME), silent) as stored:
        np.testing.assert_array_equal(stored["state"].values, in_memory["state"].values)
    assert NAME.is_file()


def test_an_unused_file_of_a_series_is_chosen_again_if_it_is_taken_meanwhile(
    tiny: mosaic.DataSet, tmp_path: Path
) -> None:
    first = Output.unused("run", beside=(".png",))
    assert first.path == Path("run-001.nc")
    (tmp_path / "run-001.nc.parts").mkdir()  # another process starts there
    (tmp_path / "run-002.png").touch()
    first.check()
    used: list[Output] = []
    job_at = partial(job_of, prepare(RunConfig(score="is", steps=1, samples=1), DataAccess(), dataset=tiny))
    start_job(job_at, first, silent, used.append).close()
    assert [output.path.name for output in used] == ["run-001.nc", "run-003.nc"]
    assert Path("run-003.nc").is_file()
    assert first.is_unfinished()
    assert not used[-1].is_unfinished()


def test_a_damaged_result_is_refused_with_the_way_out(finished: Path) -> None:
    finished.write_bytes(finished.read_bytes()[:1000])
    for job in (
        lambda: mosaic.run(out=finished, resume=True),
        lambda: mosaic.calibrate("net", out=finished, resume=True),
    ):
        with pytest.raises(mosaic.DataError, match=r"run\.nc.*`overwrite`"):
            job()


@pytest.mark.parametrize("length", [300, 252])
def test_a_name_that_is_too_long_is_refused_before_anything_is_computed(
    tiny: mosaic.DataSet, tmp_path: Path, length: int
) -> None:
    """Also where only the folder of its parts would have one."""
    name = "x" * (length - 3) + ".nc"
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(WriteError, match=rf"{name}'.*\b{length}\b"):
            mosaic.run("is", tiny, out=name, **how)
    with pytest.raises(WriteError, match=name):
        mosaic.calibrate("net", "els", tiny, out=name)
    with pytest.raises(mosaic.DataError, match=name):
        mosaic.open(name)
    assert not list(tmp_path.iterdir())
