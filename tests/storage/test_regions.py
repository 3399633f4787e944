"""Runs in Zarr stores: the values of netCDF files, written by regions, resumed, refused and replaced as files are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from kills import Killed, kill_at

import mosaic
from mosaic.disk.lock import OutputInUse
from mosaic.run.job import job_of
from mosaic.run.prepare import prepare
from mosaic.storage.job import FileJob
from mosaic.storage.regions import RegionFiles

SMALL: dict[str, Any] = {"steps": 2, "samples": 3, "batch_size": 1, "progress": False}


def same(first: xr.Dataset, second: xr.Dataset) -> bool:
    """Whether two runs hold the same bytes, in the same variables."""
    names = set(first.variables)
    return names == set(second.variables) and all(
        first[name].values.tobytes() == second[name].values.tobytes() for name in names
    )


def started(tiny: mosaic.DataSet, out: Path, computed: list[int]) -> tuple[FileJob, RegionFiles]:
    """A run at `out` of which these batches are finished, and nobody works on it any more."""
    job = job_of(
        prepare(mosaic.RunConfig(dataset="tiny", steps=2, samples=3, batch_size=1), mosaic.DataAccess(), dataset=tiny),
        out,
    )
    files = job.files
    assert isinstance(files, RegionFiles)
    with files.hold(resume=False, overwrite=False):
        files.begin(job.identity, resume=False, overwrite=False)
        for number in computed:
            files.write_part(number, job.parts[number].compute(lambda *_: None))
    return job, files


@pytest.mark.parametrize("settings", [{"save": "provenance,entropy,score", "save_steps": "all"}, {"dtype": "float64"}])
def test_a_store_holds_what_the_file_of_the_same_run_holds(
    tiny: mosaic.DataSet, tmp_path: Path, settings: dict[str, Any]
) -> None:
    settings = {**SMALL, "samples": 5, "batch_size": 2, "labels": "random", **settings}
    with mosaic.run("els", tiny, **settings, out=tmp_path / "a.nc") as file:
        store = mosaic.run("els", tiny, **settings, out=tmp_path / "a.zarr")
        made = {"created", "code", "git_commit", "command_line"}
        file.attrs, store.attrs = ({k: v for k, v in run.attrs.items() if k not in made} for run in (file, store))
        xr.testing.assert_identical(store, file)
        assert list(store.variables) == list(file.variables)
        with xr.open_dataset(tmp_path / "a.nc") as plain:  # neither needs to know of us
            opened = [
                xr.open_zarr(tmp_path / "a.zarr", chunks=None),
                xr.open_dataset(tmp_path / "a.zarr", engine="zarr"),
            ]
            for other in opened:
                xr.testing.assert_equal(other, plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "a.zarr"]
    assert store["state"].encoding["chunks"] == (1, *store["state"].shape[1:])


@pytest.mark.system
def test_a_kill_in_any_phase_of_replacing_a_run_leaves_one_that_resumes(
    tiny: mosaic.DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out = {**SMALL, "samples": 2, "score": "gaussian", "dataset": tiny, "seed": 0}, tmp_path / "a.zarr"
    whole, moment, kills = mosaic.run(**settings), 0, 0
    old = tmp_path.with_name("old") / "a.zarr"
    old.parent.mkdir()
    mosaic.run(**{**settings, "seed": 1}, out=old)
    while True:
        moment += 1
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        shutil.copytree(old, out)
        with monkeypatch.context() as patched:
            calls = kill_at(moment, patched, "a.zarr", without=r"store\.zarr/(?!zarr\.json|image/c\.1|time)")
            try:
                mosaic.run(**settings, out=out, overwrite=True)
            except Killed:
                kills += 1
        replaced = tmp_path / "a.zarr.parts" / "replaced.zarr"
        if not (tmp_path / "a.zarr.parts" / "identity.json").exists() and seed_of(out) == 1:
            with pytest.raises(mosaic.UsageError, match="seed: 1, now 0"):  # still the old run's place
                mosaic.run(**settings, out=out, resume=True)
        else:
            assert out.exists() or seed_of(replaced) == 1
            assert same(mosaic.run(**settings, out=out, resume=True), whole)
            assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
        if len(calls) < moment:
            break
    assert kills >= 20


def seed_of(path: Path) -> int:
    return int(json.loads(mosaic.open(path).attrs["configuration"])["seed"])


def test_only_what_is_missing_is_computed(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    started(tiny, tmp_path / "a.zarr", [2, 0])
    chunk = tmp_path / "a.zarr.parts" / "store.zarr" / "state" / "c.0.0.0.0.0"
    before, notes = chunk.stat().st_mtime_ns, []
    out = tmp_path / "a.zarr"
    settings = {**SMALL, "progress": lambda done, total, unit, note="": notes.append(note)}
    resumed = mosaic.run("els", tiny, **settings, out=out, resume=True)
    assert {note.partition(",")[0] for note in notes} == {"starting", "batch 2/3"}
    assert (out / "state" / chunk.name).stat().st_mtime_ns == before
    assert same(resumed, mosaic.run("els", tiny, **SMALL))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("damage", [truncated, Path.unlink])
@pytest.mark.parametrize("file", ["state/c.0.0.0.0.0", "image/c.0.0.0.0"])
def test_a_damaged_region_is_computed_again(
    tiny: mosaic.DataSet, tmp_path: Path, file: str, damage: Callable[[Path], object]
) -> None:
    started(tiny, tmp_path / "a.zarr", [0, 1])
    damage(tmp_path / "a.zarr.parts" / "store.zarr" / file)
    with pytest.warns(mosaic.MosaicWarning, match="part-00000") as told:
        resumed = mosaic.run("els", tiny, **SMALL, out=tmp_path / "a.zarr", resume=True)
    assert len(told) == 1
    assert same(resumed, mosaic.run("els", tiny, **SMALL))


@pytest.mark.parametrize("file", ["zarr.json", "state/zarr.json", "denoised"])
def test_a_store_whose_metadata_are_damaged_is_made_again(tiny: mosaic.DataSet, tmp_path: Path, file: str) -> None:
    started(tiny, tmp_path / "a.zarr", [0, 1])
    path = tmp_path / "a.zarr.parts" / "store.zarr" / file
    if path.is_dir():
        shutil.rmtree(path)
    else:
        truncated(path)
    with pytest.warns(mosaic.MosaicWarning, match="part-0000"):
        resumed = mosaic.run("els", tiny, **SMALL, out=tmp_path / "a.zarr", resume=True)
    assert same(resumed, mosaic.run("els", tiny, **SMALL))


def test_a_part_of_other_work_does_not_count(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    _, own = started(tiny, tmp_path / "a.zarr", [0])
    _, other = started(tiny, tmp_path / "b.zarr", [0, 1])
    for path in other.folder.glob("part-00001*"):
        shutil.copy(path, own.folder)
    for array in ("state", "denoised", "image"):
        for path in (other.store / array).glob("c.1.*"):
            shutil.copy(path, own.store / array)
    with pytest.warns(mosaic.MosaicWarning, match="part-00001"):
        mosaic.run("els", tiny, **SMALL, out=tmp_path / "a.zarr", resume=True)


def test_parts_may_be_written_at_once_and_again(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    """As workers do: each has its own object, in any order; who holds the place finishes."""
    out = tmp_path / "a.zarr"
    job, files = started(tiny, out, [])
    parts = [part.compute(lambda *_: None) for part in job.parts]
    with files.hold(resume=True, overwrite=False):
        files.begin(job.identity, resume=True, overwrite=False)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda number: job.files.write_part(number, parts[number]), [2, 0, 1, 2]))
        assert all(files.finished(number) for number in range(3))
        files.finish(3, job.root())
    assert same(job.open(), mosaic.run("els", tiny, **SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_resume_refuses_another_configuration_and_a_second_process(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings = {**SMALL, "out": tmp_path / "a.zarr"}

    def meanwhile(*_: object) -> None:
        for more in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputInUse):
                mosaic.run("els", tiny, **settings, **more)

    mosaic.run("els", tiny, **{**settings, "progress": meanwhile})
    with pytest.raises(mosaic.UsageError, match="seed: 0, now 1"):
        mosaic.run("els", tiny, **settings, seed=1, resume=True)
    with pytest.raises(mosaic.UsageError, match=r"a\.zarr"):
        mosaic.run("els", tiny, **settings)
    assert seed_of(tmp_path / "a.zarr") == 0
    mosaic.run("els", tiny, **settings, seed=1, overwrite=True)
    assert seed_of(tmp_path / "a.zarr") == 1


@pytest.mark.parametrize("kind", ["folder", "store", "file", "link"])
def test_what_is_not_a_store_of_mosaic_is_never_replaced(tiny: mosaic.DataSet, tmp_path: Path, kind: str) -> None:
    out, kept = tmp_path / "a.zarr", tmp_path / "kept"
    if kind == "folder":
        out.mkdir()
        (out / "precious").write_text("x")
    elif kind == "store":
        xr.Dataset({"x": ("y", [1.0])}).to_zarr(out, consolidated=False)
    elif kind == "file":
        out.write_text("x")
    else:
        mosaic.run("els", tiny, **SMALL, out=tmp_path / "b.zarr")
        out.symlink_to(tmp_path / "b.zarr")
    (shutil.copytree if out.is_dir() else shutil.copy)(out, kept)
    for more in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(mosaic.MosaicError, match=r"a\.zarr"):
            mosaic.run("els", tiny, **SMALL, out=out, **more)
    assert out.is_symlink() == (kind == "link")
    assert sorted(p.name for p in out.rglob("*")) == sorted(p.name for p in kept.rglob("*"))


def test_a_folder_that_appears_during_the_work_is_not_replaced(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    out = tmp_path / "a.zarr"

    def meanwhile(*_: object) -> None:
        out.mkdir(exist_ok=True)
        (out / "theirs").touch()

    with pytest.raises(mosaic.UsageError, match=r"a\.zarr"):
        mosaic.run("els", tiny, **{**SMALL, "progress": meanwhile}, out=out, overwrite=True)
    assert [path.name for path in out.iterdir()] == ["theirs"]
    shutil.rmtree(out)
    assert same(mosaic.run("els", tiny, **SMALL, out=out, resume=True), mosaic.run("els", tiny, **SMALL))


def test_other_results_are_files(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=r"a\.zarr.*only runs"):
        mosaic.probe("els", tiny, out=tmp_path / "a.zarr")
