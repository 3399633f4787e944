"""A session of a training: checkpoints on the way, and what spoils them."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import xarray as xr
from kills import Killed, kill_at
from reports import Reports
from safetensors.torch import load_file, save_file
from small_training import SMALL, train

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic.train.prepare import prepare_training
from mosaic.train.session import TrainingSession


def test_max_time_stops_with_a_checkpoint(tiny: mosaic.DataSet) -> None:
    actual = train(tiny, epochs=10_000_000, max_time="0.5s")
    assert 1 <= actual.progress()["step"] < 3 * 10_000_000
    assert 0.5 <= actual.progress()["seconds"] < 10


def test_max_time_counts_from_the_resumption_and_may_be_another(tiny: mosaic.DataSet) -> None:
    first = train(tiny, epochs=10_000_000, max_time=0.3).progress()
    second = train(tiny, epochs=10_000_000, max_time=0.2, resume=True).progress()
    assert second["step"] > first["step"]
    assert second["seconds"] >= first["seconds"] + 0.2


def test_progress_counts_the_images_trained_from_what_is_resumed(tiny: mosaic.DataSet) -> None:
    reports = Reports()
    train(tiny, progress=reports)
    assert [reports[0][:3], reports[-1][:3]] == [(0.0, 36.0, "image"), (36.0, 36.0, "image")]  # three epochs of twelve
    reports.clear()
    train(tiny, progress=reports, epochs=6, resume=True)
    assert [reports[0][:3], reports[-1][:3]] == [(36.0, 72.0, "image"), (72.0, 72.0, "image")]


def test_a_session_that_its_time_ends_is_done_when_it_ends(tiny: mosaic.DataSet) -> None:
    reports = Reports()
    train(tiny, progress=reports, epochs=10_000_000, max_time=0.05)
    assert reports[0][0] < 0.5 * reports[0][1]
    assert reports[-1][0] == reports[-1][1]


def test_a_loss_that_turns_nan_stops_and_leaves_the_last_good_checkpoint(tiny: mosaic.DataSet) -> None:
    good = train(tiny, learning_rate=1e-3).fingerprint()
    state = load_file("net/training.safetensors")
    state["module.up.weight"] *= 1e38  # as if Adam had run away
    save_file(state, "net/training.safetensors")
    with pytest.raises(mosaic.MosaicError, match=r"\b(nan|inf)\b.*\b10\b.*\b15\b.*'net'"):
        train(tiny, resume=True, epochs=5)
    assert mosaic.load_checkpoint(Path("net")).fingerprint() == good


def test_a_nan_before_the_first_checkpoint_keeps_none(tiny: mosaic.DataSet) -> None:
    huge = mosaic.DataSet("huge", tiny.images * 1e30, range=(-1e31, 1e31))
    with pytest.raises(mosaic.MosaicError, match=r"\binf\b.*\b1\b.*\b9\b"):
        train(huge)
    with pytest.raises(mosaic.DataError, match=r"weights\.safetensors"):
        mosaic.load_checkpoint(Path("net")).load()


def test_a_file_that_appears_before_the_first_checkpoint_is_not_replaced(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    theirs = tmp_path / "net" / "weights.safetensors"

    def write(done: float, total: float, unit: str, note: str = "") -> None:
        theirs.write_text("theirs")

    with pytest.raises(mosaic.UsageError, match=r"weights\.safetensors"):
        train(tiny, progress=write)
    assert theirs.read_text() == "theirs"
    assert sorted(path.name for path in theirs.parent.iterdir()) == ["checkpoint.json", "weights.safetensors"]
    assert train(tiny, overwrite=True, progress=write).load() is not None


def test_weights_that_turn_nan_in_the_last_step_are_not_kept(tiny: mosaic.DataSet) -> None:
    good = train(tiny)
    plan = prepare_training(mosaic.TrainConfig(network="resnet", **{**SMALL, "epochs": 5}), DataAccess(), dataset=tiny)
    session = TrainingSession(plan.build(), good.folder, good.description)
    session.start(resumes=True)
    session.training.module.get_parameter("up.weight").data.fill_(math.nan)
    with pytest.raises(mosaic.MosaicError, match=r"\b9\b.*\b15\b.*'net'"):
        session.save()
    assert mosaic.load_checkpoint(Path("net")).fingerprint() == good.fingerprint()


def test_damaged_weights_are_written_again_from_the_state(tiny: mosaic.DataSet) -> None:
    good = train(tiny).fingerprint()
    path = Path("net/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(mosaic.DataError, match="weights"):
        mosaic.load_checkpoint("net").load()
    assert train(tiny, resume=True).fingerprint() == good


def test_a_kill_at_any_moment_of_storing_ends_in_the_same_weights(
    tiny: mosaic.DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_file(train(tiny, "whole", epochs=1).folder / "weights.safetensors")
    for moment in range(1, 100):
        out = f"killed-{moment}"
        with monkeypatch.context() as patched:
            calls = kill_at(moment, patched, out)
            with suppress(Killed):
                train(tiny, out, epochs=1, save_every=1e-9)
        resumed = load_file(train(tiny, out, epochs=1, resume=True).folder / "weights.safetensors")
        assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
        assert not list((tmp_path / out).glob("*.tmp"))
        with xr.open_dataset(tmp_path / out / "loss.nc") as history:
            assert history.sizes["step"] == 3
        if len(calls) < moment:
            break
    assert moment > 9  # folder and description, then three files a checkpoint, one after each of the three steps
