"""Parts of a result in progress: kept, joined into a file, removed, and held by a single process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from stored_content import stored_in

import mosaic
from mosaic.disk.failures import WriteError
from mosaic.disk.lock import LOCK, OutputInUse, locked
from mosaic.run.batch import run_batch
from mosaic.run.prepare import prepare
from mosaic.storage.files import store
from mosaic.storage.made_by import core_digest
from mosaic.storage.parts import PartFiles, encoded, join

IDENTITY = {"configuration": {"steps": 2}, "labels": None}


def batch(*samples: int) -> xr.Dataset:
    """A data set of some samples, and a variable that all samples share."""
    values = np.array(samples, np.float32)
    return xr.Dataset({"image": ("sample", values), "level": ("step", [1.0, 0.5])}, {"sample": list(samples)})


@contextmanager
def held(
    files: PartFiles, identity: dict[str, Any] = IDENTITY, *, resume: bool = False, overwrite: bool = False
) -> Iterator[bool]:
    """Hold a place with work begun there."""
    with files.hold(resume=resume, overwrite=overwrite):
        yield files.begin(identity, resume=resume, overwrite=overwrite)


@pytest.fixture
def files(tmp_path: Path) -> PartFiles:
    return PartFiles(tmp_path / "a.nc")


def test_parts_are_joined_into_a_file_and_removed(files: PartFiles, tmp_path: Path) -> None:
    with held(files):
        assert files.in_progress() == IDENTITY
        for number, samples in enumerate([(0, 1), (2,), (3, 4)]):
            files.write_part(number, batch(*samples))
        files.finish(3, {"title": "whole"}, lambda whole: whole.assign(image=2 * whole["image"]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]
    with xr.open_dataset(files.path) as whole:
        assert whole["sample"].values.tolist() == [0, 1, 2, 3, 4]
        assert whole["image"].values.tolist() == [0, 2, 4, 6, 8]
        assert whole["level"].dims == ("step",)
        assert whole.attrs == {"title": "whole", "code": core_digest()}


def test_a_file_has_the_digests_of_all_code_that_made_its_parts(
    files: PartFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(files):
        for number, digest in enumerate(["second", "first", "second"]):
            monkeypatch.setattr("mosaic.storage.parts.core_digest", lambda digest=digest: digest)
            files.write_part(number, batch(number))
        files.finish(3, {}, lambda whole: whole)
    with xr.open_dataset(files.path) as whole:
        assert whole.attrs["code"] == "first second"


def test_parts_stay_for_who_resumes_and_are_cleared_for_who_overwrites(files: PartFiles) -> None:
    with held(files):
        files.write_part(0, batch(0))
    with held(files, resume=True):
        assert files.part(0).exists()
    with held(files, {"other": 1}, overwrite=True):
        assert not files.part(0).exists()
        assert files.in_progress() == {"other": 1}
    with pytest.raises(OutputInUse), held(files):
        pass


def test_parts_without_an_identity_are_stale(files: PartFiles) -> None:
    files.folder.mkdir()
    files.write_part(0, batch(7))
    assert files.in_progress() is None
    with held(files, resume=True):
        assert not files.part(0).exists()


def test_a_place_without_a_finished_part_is_abandoned(files: PartFiles) -> None:
    with held(files):
        files.abandon()
        assert not files.folder.exists()
    with held(files):
        files.write_part(3, batch(0))
        files.abandon()
        assert files.part(3).exists()


def test_a_place_that_another_process_holds_is_not_touched(files: PartFiles) -> None:
    with held(files):
        files.write_part(0, batch(0))
        with pytest.raises(OutputInUse, match=r"a\.nc'"):
            files.clear()
        with pytest.raises(OutputInUse), held(files, resume=True):
            pass
        assert files.part(0).exists()
    assert not (files.folder / LOCK).exists()
    with locked(files.folder, files.path):
        pass
    files.clear()
    assert not files.folder.exists()
    files.clear()


def test_a_file_that_was_finished_meanwhile_is_not_replaced(files: PartFiles) -> None:
    files.path.write_text("theirs")
    with pytest.raises(OutputInUse), held(files):
        pass
    assert files.path.read_text() == "theirs"
    assert not files.folder.exists()


def test_a_place_that_cannot_be_written_is_refused() -> None:
    files = PartFiles(Path("/proc/a.nc"))
    with (
        pytest.raises(mosaic.UsageError, match=r"'/proc/a\.nc'"),
        held(files),
    ):
        pass


def test_joined_batches_have_the_attributes_given_only() -> None:
    whole = join([batch(0).assign_attrs(code="x"), batch(1)], {"title": "whole"})
    assert whole.attrs["title"] == "whole"
    assert whole["image"].values.tolist() == [0, 1]


def test_a_file_joined_part_by_part_is_the_one_that_is_joined_in_memory(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"samples": 5, "batch_size": 2, "steps": 2, "save": "provenance,score"}
    plan = prepare(mosaic.RunConfig(**settings), mosaic.DataAccess(), dataset=tiny)
    parts = [run_batch(plan, batch) for batch in plan.batches]
    parts = [part.assign_coords(text=("step", ["a", "bc"]), flag=("step", [True, False])) for part in parts]
    files = PartFiles(tmp_path / "a.nc")
    with held(files):
        for number, part in enumerate(parts):
            files.write_part(number, part)
        again = [xr.load_dataset(files.part(number)) for number in range(3)]
        files.finish(3, {"title": "whole"})
    store(join(again, {"title": "whole"}), tmp_path / "b.nc")
    assert stored_in(tmp_path / "a.nc") == stored_in(tmp_path / "b.nc")


def test_parts_that_do_not_fit_together_are_not_joined(files: PartFiles) -> None:
    with held(files):
        files.write_part(0, batch(0))
        for other in (batch(1).drop_vars("level"), batch(1).astype(np.float64), batch(1).rename(sample="other")):
            files.write_part(1, other)
            with pytest.raises(mosaic.DataError, match=r"a\.nc\.parts"):
                files.finish(2, {})
    assert not files.path.exists()


def test_an_identity_is_encoded_as_json_texts() -> None:
    assert encoded({"a": None, "b": {"c": [1, True]}, "d": "text"}) == {
        "a": "null",
        "b": '{"c": [1, true]}',
        "d": '"text"',
    }


@pytest.mark.parametrize("damage", [b"", b"[1]", b"{", b"{}", b"\xff", b"7", b"[" * 9999])
def test_work_with_a_damaged_identity_is_started_again_with_a_note(files: PartFiles, damage: bytes) -> None:
    with held(files):
        files.write_part(0, batch(0))
    (files.folder / "identity.json").write_bytes(damage)
    assert files.in_progress() is None
    with files.hold(resume=True, overwrite=False):
        with pytest.warns(mosaic.MosaicWarning, match=r"identity\.json"):
            files.begin(IDENTITY, resume=True, overwrite=False)
        assert not files.finished(0)
        assert files.in_progress() == IDENTITY


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: content[:-1] + b"\x07"])
def test_a_damaged_part_is_not_finished_and_noted(files: PartFiles, damage: Callable[[bytes], bytes]) -> None:
    with held(files):
        for number in range(2):
            files.write_part(number, batch(number))
        part = files.part(0)
        part.write_bytes(damage(part.read_bytes()))
        with pytest.raises(mosaic.DataError, match="part-00000"):
            files.finish(2, {}, lambda whole: whole)
        with pytest.warns(mosaic.MosaicWarning, match="part-00000"):
            assert not files.finished(0)
        assert files.finished(1)
        assert not part.exists()
        files.write_part(0, batch(0))
        files.finish(2, {}, lambda whole: whole)
    assert files.path.exists()


def test_a_file_that_appears_during_the_work_is_not_replaced(files: PartFiles) -> None:
    with held(files) as replaces:
        files.write_part(0, batch(0))
        files.path.write_text("theirs")
        with pytest.raises(WriteError, match=r"a\.nc"):
            files.finish(1, {}, lambda whole: whole, replaces)
    assert files.path.read_text() == "theirs"
    assert files.part(0).exists()
    with pytest.raises(OutputInUse), held(files, resume=True):
        pass
    assert files.part(0).exists()


def test_work_that_may_replace_a_file_still_may_when_it_is_resumed(files: PartFiles) -> None:
    files.path.write_text("old")
    with held(files, overwrite=True):
        files.write_part(0, batch(0))
    with held(files, resume=True) as replaces:
        files.finish(1, {}, lambda whole: whole, replaces)
    xr.load_dataset(files.path)


def test_parts_whose_numbers_were_stored_as_integers_are_joined_with_those_that_were_not() -> None:
    older, newer = (
        batch(n).assign_coords(scale=("step", np.array([5, 3], kind))) for n, kind in ((0, int), (1, float))
    )
    assert join([older, newer], {})["scale"].values.tolist() == [5, 3]  # scales were window sizes once
