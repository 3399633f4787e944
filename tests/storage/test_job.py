"""Jobs: what is kept, resumed, refused, and left by a kill."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from kills import Killed, kill_at
from reports import Reports

import mosaic
from mosaic.disk.failures import WriteError
from mosaic.disk.lock import OutputInUse
from mosaic.run.job import job_of
from mosaic.run.prepare import prepare
from mosaic.storage.made_by import code_changed, core_digest

VARIABLES = ("state", "denoised", "image")


def same_bytes(first: xr.Dataset, second: xr.Dataset) -> bool:
    return all(first[name].values.tobytes() == second[name].values.tobytes() for name in VARIABLES)


class Stop(Exception):
    """Stands for a kill between two steps."""


def stop_in_third(done: float, total: float, unit: str, note: str = "") -> None:
    if note.startswith("batch 3"):
        raise Stop


def test_a_run_stopped_anywhere_resumes_to_the_same_bytes(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 3, "samples": 5, "batch_size": 2, "sampler": "ddpm"}
    whole = mosaic.run(**settings)
    calls = 0

    def stop_at_eight(done: float, total: float, unit: str, note: str = "") -> None:
        nonlocal calls
        calls += 1
        if calls == 8:  # one when it starts, three of each batch
            raise Stop

    with pytest.raises(Stop):
        mosaic.run(**settings, out=tmp_path / "a.nc", progress=stop_at_eight)
    parts = sorted((tmp_path / "a.nc.parts").glob("part-*.nc"))
    assert len(parts) == 2
    for part in parts:
        with xr.open_dataset(part) as stored:
            assert stored.sizes["sample"] == 2
    reports = Reports()
    resumed = mosaic.run(
        **settings,
        out=tmp_path / "a.nc",
        resume=True,
        progress=reports,
    )
    assert [note for *_, note in reports] == ["starting", *(f"batch 3/3, step {step}/3" for step in (1, 2, 3))]
    assert [done / total for done, total, *_ in reports] == pytest.approx([12 / 15, 13 / 15, 14 / 15, 1])
    assert same_bytes(resumed, whole)
    resumed.close()
    assert not (tmp_path / "a.nc.parts").exists()
    with mosaic.run(**settings, out=tmp_path / "a.nc", resume=True) as again:  # all there: nothing is computed
        assert same_bytes(again, whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 4}, {"score_options": {"boundary": "circular"}}])
def test_resume_refuses_another_configuration(tiny: mosaic.DataSet, tmp_path: Path, change: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 3, "samples": 2}
    mosaic.run(**settings, out=tmp_path / "a.nc").close()
    with pytest.raises(mosaic.UsageError, match=next(iter(change))):
        mosaic.run(**(settings | change), out=tmp_path / "a.nc", resume=True)


def test_a_run_that_other_code_started_has_both_digests(
    tiny: mosaic.DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"score": "is", "dataset": tiny, "samples": 4, "steps": 2, "batch_size": 2}

    def stop(done: float, total: float, unit: str, note: str = "") -> None:
        if note.startswith("batch 2"):
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr("mosaic.storage.parts.core_digest", lambda: "another")
        with pytest.raises(Stop):
            mosaic.run(**settings, out=tmp_path / "a.nc", progress=stop)
    mosaic.run(**settings, out=tmp_path / "a.nc", resume=True).close()
    mosaic.run(**settings, out=tmp_path / "b.nc").close()
    with mosaic.open(tmp_path / "b.nc") as run:
        assert not code_changed(run.attrs["code"])
    with mosaic.open(tmp_path / "a.nc") as run:
        assert code_changed(run.attrs["code"])
        assert sorted(run.attrs["code"].split()) == sorted([core_digest(), "another"])
    assert mosaic.run(**settings).attrs["code"] == core_digest()


def test_resume_refuses_other_data(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    mosaic.run(dataset=tiny, steps=2, samples=1, out=tmp_path / "a.nc").close()
    with pytest.raises(mosaic.UsageError, match="dataset_fingerprint"):
        mosaic.run(dataset=tiny.select(torch.arange(11)), steps=2, samples=1, out=tmp_path / "a.nc", resume=True)


def test_an_existing_run_is_kept_unless_it_is_to_be_overwritten(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 1, "out": tmp_path / "a.nc"}
    mosaic.run(**settings).close()
    before = (tmp_path / "a.nc").read_bytes()
    with pytest.raises(mosaic.UsageError, match=r"a\.nc"):
        mosaic.run(**settings, seed=5)
    assert (tmp_path / "a.nc").read_bytes() == before
    with mosaic.run(**settings, seed=5, overwrite=True) as run:
        assert json.loads(run.attrs["configuration"])["seed"] == 5


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_in_any_phase_of_storing_leaves_a_run_that_resumes(
    tiny: mosaic.DataSet,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    overwrite: bool,
) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 2, "batch_size": 1, "seed": 0}
    whole, out, moment, kills = mosaic.run(**settings), tmp_path / "a.nc", 0, 0
    old = tmp_path_factory.mktemp("old") / "a.nc"
    mosaic.run(**{**settings, "seed": 1}, out=old).close()
    while True:
        moment += 1
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        if overwrite:  # a finished run and an unfinished one of other settings are in the place
            shutil.copy(old, out)
            (tmp_path / "a.nc.parts").mkdir()
            (tmp_path / "a.nc.parts" / "part-00000.nc").write_bytes(b"of another run")
        with monkeypatch.context() as patched:
            calls = kill_at(moment, patched, "a.nc")
            try:
                mosaic.run(**settings, out=out, overwrite=overwrite).close()
            except Killed:
                kills += 1
        started = (tmp_path / "a.nc.parts" / "identity.json").exists()
        if overwrite and not started and not finished_with(out, 0):
            with pytest.raises(mosaic.UsageError, match="seed: 1, now 0"):  # still the old run's place
                mosaic.run(**settings, out=out, resume=True)
        else:
            with mosaic.run(**settings, out=out, resume=True) as resumed:
                assert same_bytes(resumed, whole)
            assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]
        if len(calls) < moment:
            break
    assert kills >= 6


def finished_with(path: Path, seed: int) -> bool:
    if not path.exists():
        return False
    with mosaic.open(path) as run:
        return bool(json.loads(run.attrs["configuration"])["seed"] == seed)


def test_parts_without_identity_are_not_resumed(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 3, "batch_size": 1}
    with pytest.raises(Killed):
        mosaic.run(**settings, seed=1, out=tmp_path / "a.nc", progress=killing_after(4))
    (tmp_path / "a.nc.parts" / "identity.json").unlink()
    with mosaic.run(**settings, out=tmp_path / "a.nc", resume=True) as resumed:
        assert same_bytes(resumed, mosaic.run(**settings))


def killing_after(steps: int) -> Any:
    left = iter(range(steps))

    def progress(*_: object) -> None:
        if next(left, None) is None:
            raise Killed

    return progress


def test_objects_without_an_identity_cannot_be_resumed(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    generator = torch.Generator()
    with pytest.raises(mosaic.UsageError, match="random"):
        mosaic.run(score=lambda x, t: x if generator else -x, dataset=tiny, out=tmp_path / "a.nc", resume=True)
    with pytest.raises(mosaic.UsageError, match="overwrite"):
        mosaic.run(dataset=tiny, out=tmp_path / "a.nc", resume=True, overwrite=True)


def test_two_processes_do_not_work_on_the_same_run(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 2, "out": tmp_path / "a.nc"}
    for more in ({}, {"resume": True}, {"overwrite": True}):

        def meanwhile(done: float, total: float, unit: str, note: str, more: dict[str, Any] = more) -> None:
            with pytest.raises(OutputInUse):
                mosaic.run(**settings, **more)

        mosaic.run(**settings, overwrite=True, progress=meanwhile).close()


def test_a_run_that_fails_before_its_first_batch_leaves_nothing(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    with pytest.raises(mosaic.UsageError, match="labels"):
        mosaic.run(score=lambda x, t: x, dataset=tiny, labels="0", out=tmp_path / "a.nc")
    with pytest.raises(mosaic.UsageError, match="shape"):
        mosaic.run(score=lambda x, t: x[:, :, :3], dataset=tiny, out=tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_another_process_finished_meanwhile_is_not_replaced(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    """The place was free when it was checked, and is taken when the work starts."""
    config = mosaic.RunConfig(samples=1, steps=2)
    plan = prepare(config, mosaic.DataAccess(), dataset=tiny)
    mosaic.run("els", tiny, samples=1, steps=2, seed=5, out=tmp_path / "a.nc").close()
    before = (tmp_path / "a.nc").read_bytes()
    with pytest.raises(OutputInUse):
        job_of(plan, tmp_path / "a.nc").execute()
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]
    assert (tmp_path / "a.nc").read_bytes() == before


def test_a_truncated_part_is_computed_again_and_a_damaged_identity_starts_again(
    tiny: mosaic.DataSet, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 3, "batch_size": 1}
    whole = mosaic.run(**settings)

    for damaged in ("part-00000.nc", "identity.json"):
        with pytest.raises(Stop):
            mosaic.run(**settings, out=tmp_path / "a.nc", overwrite=True, progress=stop_in_third)
        path = tmp_path / "a.nc.parts" / damaged
        path.write_bytes(path.read_bytes()[:50])
        with pytest.warns(mosaic.MosaicWarning, match="damaged") as told:
            mosaic.run(**settings, out=tmp_path / "a.nc", resume=True).close()
        assert any(damaged in str(warning.message) for warning in told)
        with mosaic.open(tmp_path / "a.nc") as resumed:
            assert same_bytes(resumed, whole)
        (tmp_path / "a.nc").unlink()


def test_an_identity_that_lacks_entries_is_anothers(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    (tmp_path / "a.nc.parts").mkdir()
    (tmp_path / "a.nc.parts" / "identity.json").write_text('{"labels": [0]}')
    with pytest.raises(mosaic.UsageError, match="configuration"):
        mosaic.run(dataset=tiny, steps=2, samples=1, out=tmp_path / "a.nc", resume=True)


def test_a_full_disk_keeps_what_is_finished(
    tiny: mosaic.DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 3, "batch_size": 1, "out": tmp_path / "a.nc"}
    writes = 0

    def store(*args: Any, **kwargs: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*args, **kwargs)

    original = xr.Dataset.to_netcdf
    with monkeypatch.context() as patched:
        patched.setattr(xr.Dataset, "to_netcdf", store)
        with pytest.raises(WriteError, match=r"full.*\b2 of 3\b.*a\.nc\.parts.*`resume`"):
            mosaic.run(**settings)
        writes = 2
        with pytest.raises(WriteError, match=r"full.*\b2 of 3\b.*a\.nc\.parts") as caught:
            mosaic.run(**settings, resume=True)
        assert "`" not in str(caught.value)  # a leaderboard resumes without a setting of that name
    mosaic.run(**settings, resume=True).close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


@pytest.mark.parametrize("source", ["other.nc.parts/part-00000", "a.nc.parts/part-00001"])
def test_a_part_of_other_work_or_of_another_batch_is_not_taken(
    tiny: mosaic.DataSet, tmp_path: Path, source: str
) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 3, "batch_size": 1}
    whole = mosaic.run(**settings)

    for name, seed in (("a.nc", 0), ("other.nc", 7)):
        with pytest.raises(Stop):
            mosaic.run(**settings, seed=seed, out=tmp_path / name, progress=stop_in_third)
    for ending in (".nc", ".sha256"):
        shutil.copy(f"{tmp_path / source}{ending}", tmp_path / f"a.nc.parts/part-00000{ending}")
    with pytest.warns(mosaic.MosaicWarning, match=r"part-00000\.nc'"):
        mosaic.run(**settings, out=tmp_path / "a.nc", resume=True).close()
    with mosaic.open(tmp_path / "a.nc") as resumed:
        assert same_bytes(resumed, whole)


def test_parts_are_not_joined_with_those_of_an_identity_that_was_damaged(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    """Though it is still JSON: a resumed run takes its settings from it."""
    settings: dict[str, Any] = {"steps": 2, "samples": 3, "batch_size": 1}
    with pytest.raises(Stop):
        mosaic.run("is", tiny, **settings, seed=4, out=tmp_path / "a.nc", progress=stop_in_third)
    identity = tmp_path / "a.nc.parts" / "identity.json"
    identity.write_text(identity.read_text().replace('"seed": 4', '"seed": 5'))
    with pytest.warns(mosaic.MosaicWarning, match=r"a\.nc\.parts"):
        run = mosaic.run("is", tiny, **settings, out=tmp_path / "a.nc", resume=True)
    with run:
        assert same_bytes(run, mosaic.run("is", tiny, **settings))


def test_parts_that_are_a_link_are_not_followed(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "part-00000.nc").write_text("keep")
    (tmp_path / "a.nc.parts").symlink_to(tmp_path / "theirs")
    for how in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(mosaic.UsageError, match="link"):
            mosaic.run(dataset=tiny, steps=2, samples=1, out=tmp_path / "a.nc", **how)
    assert [(path.name, path.read_text()) for path in (tmp_path / "theirs").iterdir()] == [("part-00000.nc", "keep")]


def test_a_damaged_coordinate_is_found_when_it_is_read(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    with mosaic.run("is", tiny, steps=7, samples=2, out=tmp_path / "a.nc") as run:
        noise = run["noise"].values.tobytes()
    content = bytearray((tmp_path / "a.nc").read_bytes())
    content[content.index(noise) + 7] ^= 0x10
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(mosaic.DataError, match=r"a\.nc'"), mosaic.open(tmp_path / "a.nc") as run:
        run["noise"].load()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("name", ["part-00000.nc", "part-00000.sha256", "identity.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tiny: mosaic.DataSet, tmp_path: Path, name: str) -> None:
    settings: dict[str, Any] = {"dataset": tiny, "steps": 2, "samples": 3, "batch_size": 1, "out": tmp_path / "a.nc"}
    with pytest.raises(Stop):
        mosaic.run(**settings, progress=stop_in_third)
    (tmp_path / "a.nc.parts" / name).unlink()
    os.mkfifo(tmp_path / "a.nc.parts" / name)
    with pytest.warns(mosaic.MosaicWarning, match="damaged"):
        mosaic.run(**settings, resume=True).close()
