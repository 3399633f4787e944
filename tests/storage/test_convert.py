"""Runs copied from one container to another: nothing changes on the way there and back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import xarray as xr
from kills import Killed
from stored_content import stored_in

import mosaic
from mosaic.storage.parts import PartFiles


@pytest.fixture
def run(tiny: mosaic.DataSet, tmp_path: Path) -> Path:
    path = tmp_path / "a.nc"
    mosaic.run("els", tiny, samples=5, batch_size=2, steps=3, save_steps="all", out=path, progress=False).close()
    return path


@pytest.mark.parametrize("block", [1, 2**24])
def test_a_run_is_the_same_after_it_was_a_store(run: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("mosaic.storage.trajectory.BLOCK", block)
    store = mosaic.convert_run(run, out=run.with_suffix(".zarr"), progress=False)
    with mosaic.open(run) as whole:
        xr.testing.assert_identical(store, whole)
    mosaic.convert_run(run.with_suffix(".zarr"), out=run.with_name("b.nc"), progress=False).close()
    assert stored_in(run.with_name("b.nc")) == stored_in(run)
    assert sorted(path.name for path in run.parent.iterdir()) == ["a.nc", "a.zarr", "b.nc"]


def test_a_copy_is_resumed_as_the_run_that_it_is_of(run: Path, tiny: mosaic.DataSet) -> None:
    mosaic.convert_run(run, out=run.with_suffix(".zarr"), progress=False)
    mosaic.run("els", tiny, out=run.with_suffix(".zarr"), resume=True, progress=False)
    with pytest.raises(mosaic.UsageError, match="seed"):
        mosaic.run("els", tiny, seed=7, out=run.with_suffix(".zarr"), resume=True, progress=False)


def test_nonsense_is_refused(run: Path, tmp_path: Path) -> None:
    for given, out in (("a.nc", "b.nc"), ("a.nc", "b"), ("a.nc", "none/b.zarr")):
        with pytest.raises(mosaic.UsageError, match=out):
            mosaic.convert_run(tmp_path / given, out=tmp_path / out, progress=False)
    with pytest.raises(mosaic.DataError, match=r"c\.zarr"):
        mosaic.convert_run(tmp_path / "c.zarr", out=tmp_path / "b.nc", progress=False)
    xr.Dataset({"x": ("sample", [1.0])}).to_netcdf(tmp_path / "d.nc")
    with pytest.raises(mosaic.DataError, match=r"d\.nc"):
        mosaic.convert_run(tmp_path / "d.nc", out=tmp_path / "b.zarr", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "d.nc"]


def test_a_place_that_is_taken_is_kept_unless_it_is_to_be_overwritten(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.zarr"
    mosaic.convert_run(run, out=out, progress=False)
    before = (out / "zarr.json").stat().st_ino
    with pytest.raises(mosaic.UsageError, match=r"b\.zarr"):
        mosaic.convert_run(run, out=out, progress=False)
    assert (out / "zarr.json").stat().st_ino == before
    mosaic.convert_run(run, out=out, overwrite=True, progress=False)
    assert (out / "zarr.json").stat().st_ino != before
    shutil.rmtree(out)
    out.mkdir()
    with pytest.raises(mosaic.UsageError, match=r"b\.zarr"):
        mosaic.convert_run(run, out=out, overwrite=True, progress=False)


@pytest.mark.parametrize("ending", [".nc", ".zarr"])
def test_a_copy_that_fails_or_is_killed_leaves_nothing_half(run: Path, tmp_path: Path, ending: str) -> None:
    given = run
    if ending == ".nc":
        given = tmp_path / "a.zarr"
        mosaic.convert_run(run, out=given, progress=False)
    out = tmp_path / f"b{ending}"

    def stop(done: float, total: float, unit: str, note: str = "") -> None:
        raise Killed

    with pytest.raises(Killed):
        mosaic.convert_run(given, out=out, progress=stop)
    assert not out.exists()
    left = tmp_path / f"{out.name}.parts" / "store.zarr"  # of a copy that had no time to remove it
    left.mkdir(parents=True)
    mosaic.convert_run(given, out=out, progress=False).close()
    assert not list(tmp_path.glob("*.parts"))


def test_a_copy_does_not_take_the_place_of_an_unfinished_run(run: Path, tmp_path: Path) -> None:
    files = PartFiles(tmp_path / "b.zarr")
    files.folder.mkdir()
    (files.folder / "part-00000.nc").touch()  # its identity is lost
    with pytest.raises(mosaic.UsageError, match="unfinished work"):
        mosaic.convert_run(run, out=files.path, progress=False)
    assert (files.folder / "part-00000.nc").exists()
