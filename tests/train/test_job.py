"""Training as a job: its folder, and what is resumed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_training import train

import mosaic
from mosaic.storage.document import document_text, parse_document
from mosaic.train import session


def test_resuming_a_finished_training_changes_nothing_and_resuming_nothing_starts(tiny: mosaic.DataSet) -> None:
    first = train(tiny, resume=True)
    again = train(tiny, resume=True)
    assert first.fingerprint() == again.fingerprint()
    assert again.progress()["step"] == 9


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.5}, "learning_rate: 0.001, now 0.5"),
        ({"network_options": {"channels": 5, "blocks": 1}}, "network_options.channels: 4, now 5"),
        ({"seed": 1}, "seed: 0, now 1"),
    ],
)
def test_another_training_is_not_resumed(tiny: mosaic.DataSet, change: dict[str, Any], named: str) -> None:
    train(tiny)
    with pytest.raises(mosaic.UsageError, match=named):
        train(tiny, resume=True, **change)


def test_a_training_from_before_a_setting_is_resumed_with_its_default(tiny: mosaic.DataSet) -> None:
    whole = train(tiny, "whole")
    train(tiny, epochs=2, lr_decay=whole.description["configuration"]["lr_decay"])
    path = Path("net") / "checkpoint.json"
    document = parse_document(path.read_bytes())
    del document["configuration"]["times"], document["configuration"]["network_options"]["variant"]
    path.write_text(document_text(document))
    train(tiny, resume=True)
    with pytest.raises(mosaic.UsageError, match=r"times: \"uniform\", now \"grid\""):
        train(tiny, resume=True, times="grid")


def test_other_data_are_not_resumed_with(tiny: mosaic.DataSet) -> None:
    train(tiny)
    with pytest.raises(mosaic.UsageError, match="fingerprint"):
        train(tiny.select(torch.arange(11)), resume=True)


def test_a_taken_folder_is_refused_and_overwritten_only_on_request(tiny: mosaic.DataSet) -> None:
    first = train(tiny).fingerprint()
    with pytest.raises(mosaic.UsageError, match="overwrite"):
        train(tiny, seed=1)
    assert train(tiny, seed=1, overwrite=True).fingerprint() != first


def test_a_folder_of_other_files_is_not_changed(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(mosaic.UsageError, match="mine"):
            train(tiny, "mine", **how)
    with pytest.raises(mosaic.UsageError, match=r"thesis\.txt"):
        train(tiny, "mine/thesis.txt")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


def test_a_checkpoint_stays_until_the_one_that_overwrites_it_is_there(tiny: mosaic.DataSet) -> None:
    good = train(tiny)
    files = {path.name: path.read_bytes() for path in good.folder.iterdir()}
    huge = mosaic.DataSet("huge", tiny.images * 1e30, range=(-1e31, 1e31))
    with pytest.raises(mosaic.MosaicError, match="'net'"):
        train(huge, overwrite=True)
    assert {path.name: path.read_bytes() for path in good.folder.iterdir()} == files


@pytest.mark.parametrize(
    "left", [".checkpoint.json.tmp", "weights.safetensors", ".training.safetensors.tmp", "training.safetensors"]
)
def test_what_a_kill_leaves_of_a_first_checkpoint_does_not_hinder(tiny: mosaic.DataSet, left: str) -> None:
    for how in ({"resume": True}, {"overwrite": True}, {}):
        shutil.rmtree("net", ignore_errors=True)
        Path("net").mkdir()
        Path("net", left).write_bytes(b"half")
        assert train(tiny, **how).load() is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("seconds"),
        lambda state: state.pop("adam.exp_avg.up.weight"),
        lambda state: state.update(step=torch.tensor(-5)),
        lambda state: state.update(step=torch.tensor([1, 2])),
        lambda state: state.update(loss=torch.ones(2)),
        lambda state: state.update({"module.up.weight": torch.ones(2)}),
    ],
)
def test_a_damaged_state_is_refused_in_one_sentence(
    tiny: mosaic.DataSet, damage: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    train(tiny)
    state = load_file("net/training.safetensors")
    damage(state)
    save_file(state, "net/training.safetensors")
    with pytest.raises(mosaic.DataError, match=r"training\.safetensors") as caught:
        train(tiny, epochs=9, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["checkpoint.json", "training.safetensors", "weights.safetensors"])
def test_a_damaged_training_is_refused_with_the_way_out(tiny: mosaic.DataSet, name: str) -> None:
    train(tiny, epochs=1)
    path = Path("net", name)
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    way_out = "`overwrite`" if name == "checkpoint.json" else "Remove it"
    with pytest.raises(mosaic.DataError, match=rf"{name}'.*{way_out}"):
        train(tiny, resume=True)
    if name != "checkpoint.json":
        path.unlink()
    assert train(tiny, resume=name != "checkpoint.json", overwrite=name == "checkpoint.json").load() is not None


def test_a_full_disk_keeps_the_last_checkpoint(tiny: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    good = train(tiny).fingerprint()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(mosaic.MosaicError, match=r"full.*'net'") as caught:
            train(tiny, resume=True, epochs=5)
        assert "`" not in str(caught.value)  # a study resumes without a setting of that name
        assert mosaic.load_checkpoint("net").fingerprint() == good
        with pytest.raises(mosaic.MosaicError, match=r"full.*'net'.*kept"):
            train(tiny, overwrite=True, epochs=1)
    assert mosaic.load_checkpoint("net").fingerprint() == good
    assert mosaic.load_checkpoint("net").config.epochs != 1


def test_the_file_that_cannot_be_written_is_named(tiny: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    save = session.save_tensors

    def full(tensors: Mapping[str, torch.Tensor], temporary: Path, facts: Mapping[str, float]) -> None:
        if temporary.name.startswith("training"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(tensors, temporary, facts)

    monkeypatch.setattr(session, "save_tensors", full)
    with pytest.raises(mosaic.MosaicError, match=r"'net/training\.safetensors'.*full"):
        train(tiny)
