"""netCDF files: no Ctrl-C lands where a lock of the library is held, and what is damaged is named."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from interrupts import count_moments, distinct_moments, interrupt_at
from reports import Reports
from safetensors.torch import load_file
from small_training import train

import mosaic
from mosaic.evaluate.calibration.calibrate import open_calibration
from mosaic.evaluate.leaderboard.entry import Along, LeaderboardEntry, plan_along, steps_job
from mosaic.netcdf.access import LIBRARY_LOCK, open_netcdf
from mosaic.run.job import job_of
from mosaic.run.prepare import prepare
from mosaic.storage.files import write_netcdf

DATA = xr.Dataset({"a": (("sample", "x"), np.arange(20.0).reshape(4, 5))})


def read(path: Path) -> None:
    with open_netcdf(path) as stored:
        assert stored["a"].values.shape == (4, 5)


def test_a_write_or_read_is_interrupted_at_any_lock_and_leaves_it_free(tmp_path: Path) -> None:
    write_netcdf(DATA, tmp_path / "old.nc")
    for work, path in ((partial(write_netcdf, DATA), tmp_path / "new.nc"), (read, tmp_path / "old.nc")):
        moments = count_moments(partial(work, path))
        assert moments > 20
        for moment in range(1, moments + 1):
            interrupt_at(moment, partial(work, path))
            read(tmp_path / "old.nc")
    read(tmp_path / "new.nc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.nc", "old.nc"]


@pytest.mark.parametrize("name", [" blank.nc", "file:x#mode=zarr.nc", "x:/y.nc", "caf\u00e9 \n.nc"])
def test_a_file_is_where_its_name_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone, the library drops a blank before a name, and takes `scheme://` for an address."""
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    write_netcdf(DATA, path)
    assert path.is_file()
    read(path)


@pytest.mark.skipif(os.sep == "\\", reason="a backslash separates folders here")
@pytest.mark.parametrize("name", ["a\\b", "caf\udce9"])
def test_a_path_that_the_library_cannot_take_is_refused_before_the_work(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "a.nc").write_bytes(b"CDF\x01")
    with pytest.raises(mosaic.DataError, match=re.escape(name[:1])):
        open_netcdf(folder / "a.nc")
    progress = Reports()
    for work in (mosaic.run, mosaic.train):
        with pytest.raises(mosaic.UsageError):
            work(dataset="digits", out=folder / "b.nc", progress=progress)
    with pytest.raises(mosaic.UsageError):
        mosaic.reproduce("table2", out=folder / "c", progress=progress)
    assert not progress


THREADS = """
from concurrent.futures import ThreadPoolExecutor
import mosaic

def work(seed):
    options = {"dataset_options": {"limit": 40}, "samples": 2, "steps": 2, "progress": False}
    with mosaic.run("ls", "digits", seed=seed, out=f"{seed}.nc", **options) as run:
        sources = run.mosaic.sources()
    with mosaic.open(f"{seed}.nc") as run:
        return float(run["image"].sum()), mosaic.run("is", "digits", init=f"{seed}.nc", **options).sizes["sample"]

with ThreadPoolExecutor(4) as pool:
    print(len(list(pool.map(work, range(16)))))
"""


@pytest.mark.system
def test_threads_that_store_and_open_files_at_a_time_do_not_crash(tmp_path: Path) -> None:
    (tmp_path / "threads.py").write_text(THREADS)
    done = subprocess.run([sys.executable, "threads.py"], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, "16\n")


def test_an_open_file_can_be_handed_to_another_process(tmp_path: Path) -> None:
    write_netcdf(DATA, tmp_path / "a.nc")
    with open_netcdf(tmp_path / "a.nc") as stored, pickle.loads(pickle.dumps(stored)) as copy:
        np.testing.assert_array_equal(copy["a"].values, DATA["a"].values)


def test_values_that_are_damaged_are_named_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    write_netcdf(xr.Dataset({"a": (("sample", "x"), np.random.default_rng(0).random((1, 5000)))}), path)
    content = bytearray(path.read_bytes())
    content[-5000:-4000] = bytes(1000)
    path.write_bytes(content)
    with open_netcdf(path) as stored, pytest.raises(mosaic.DataError, match=r"'.*a\.nc'"):
        stored["a"].load()


def moments_of(work: Callable[[], object], which: str) -> list[int]:
    """Moments at every place where a lock is taken or freed, or something is written; or at four of them."""
    moments = distinct_moments(work)
    assert len(moments) > 100
    return moments if which == "every" else [moments[place] for place in np.linspace(0, len(moments) - 1, 4, dtype=int)]


SOME_OR_EVERY = pytest.mark.parametrize("which", ["some", pytest.param("every", marks=pytest.mark.slow)])


@SOME_OR_EVERY
def test_a_run_is_interrupted_at_any_lock_or_write_and_resumes(
    tiny: mosaic.DataSet, tmp_path: Path, which: str
) -> None:
    settings: dict[str, Any] = {"score": "is", "dataset": tiny, "steps": 2, "samples": 2, "batch_size": 1}
    whole, out = mosaic.run(**settings), tmp_path / "a.nc"

    def run(**how: bool) -> None:
        mosaic.run(**settings, out=out, progress=False, **how).close()

    for moment in moments_of(run, which):
        out.unlink(missing_ok=True)
        interrupt_at(moment, run)
        run(resume=True)
        with mosaic.open(out) as resumed:
            assert resumed["state"].values.tobytes() == whole["state"].values.tobytes()
        assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


@SOME_OR_EVERY
def test_a_training_is_interrupted_at_any_lock_or_write_and_resumes(
    tiny: mosaic.DataSet, tmp_path: Path, which: str
) -> None:
    def work(**how: Any) -> None:
        train(tiny, epochs=1, save_every=1e-9, progress=False, **how)

    moments = moments_of(work, which)
    whole = load_file("net/weights.safetensors")
    for moment in moments:
        shutil.rmtree("net")
        interrupt_at(moment, work)
        work(resume=True)
        resumed = load_file("net/weights.safetensors")
        assert all((value == resumed[name]).all() for name, value in whole.items())
        assert not list((tmp_path / "net").glob("*.tmp"))


@SOME_OR_EVERY
def test_a_calibration_is_interrupted_at_any_lock_or_write_and_resumes(tiny: mosaic.DataSet, which: str) -> None:
    train(tiny, epochs=1)

    def calibrate(**how: bool) -> None:
        mosaic.calibrate("net", "els", tiny, out="a.nc", samples=2, steps=2, sizes="3", progress=False, **how).close()

    calibrate()  # makes the folder of compiled kernels, once
    Path("a.nc").unlink()
    for moment in moments_of(calibrate, which):
        Path("a.nc").unlink()
        interrupt_at(moment, calibrate)
        calibrate(resume=True)
        open_calibration("a.nc").close()


@SOME_OR_EVERY
def test_an_entry_is_interrupted_at_any_lock_or_write_and_resumes(tiny: mosaic.DataSet, which: str) -> None:
    plan = prepare(mosaic.RunConfig(score="is", steps=2, samples=2), mosaic.DataAccess(), dataset=tiny)
    job_of(plan, Path("a.nc")).execute().close()
    along = Along(run=Path("a.nc"), moments=2, steps=Path("steps.nc"))
    entry = LeaderboardEntry(run=plan.config, out=Path("a.nc"), along=(along,))

    def execute() -> None:
        steps_job(entry, along, plan_along(entry, along, plan)).execute(resume=True).close()

    for moment in moments_of(execute, which):
        along.steps.unlink()
        interrupt_at(moment, execute)
        execute()
        assert entry.are_steps_done()


def test_an_interrupt_while_an_unused_file_is_closed_is_not_lost(tmp_path: Path) -> None:
    """Python drops what is raised while it collects an object."""
    write_netcdf(DATA, tmp_path / "a.nc")
    stored = open_netcdf(tmp_path / "a.nc")
    stored["a"].load()
    release = LIBRARY_LOCK.release

    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        release()

    class Unused:
        def __del__(self) -> None:
            stored.close()

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):  # noqa: PT012
            patched.setattr(LIBRARY_LOCK, "release", interrupted)
            unused = Unused()
            del unused
            patched.undo()
            time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, usual)
