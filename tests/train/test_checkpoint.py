"""Checkpoints: what they hold, and what damages them."""

from __future__ import annotations

import json
import math
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_training import train

import mosaic
from mosaic.storage.document import document_text, parse_document


def test_a_checkpoint_records_what_was_trained_on_what(tiny: mosaic.DataSet) -> None:
    actual = train(tiny)
    assert sorted(path.name for path in actual.folder.iterdir()) == [
        "checkpoint.json",
        "loss.nc",
        "training.safetensors",
        "weights.safetensors",
    ]
    assert actual.shape == tiny.shape
    assert actual.classes == ()
    assert actual.description["dataset_fingerprint"] == tiny.fingerprint()
    options = {"padding": "zeros", "class_conditional": False, "channels": 4, "blocks": 1, "variant": "ours"}
    assert actual.config.network_options == options
    assert actual.config.schedule == "cosine"
    assert actual.receptive_field() == 7
    assert actual.progress()["step"] == 9
    assert actual.progress()["epoch"] == 3


def truncate(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def poison(folder: Path) -> None:
    state = load_file(folder / "weights.safetensors")
    state["down.bias"][0] = math.nan
    save_file(state, folder / "weights.safetensors")


def exchange(folder: Path) -> None:
    save_file({"other": torch.ones(3)}, folder / "weights.safetensors")


def lie_about_length(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")


def with_another_seed(folder: Path) -> None:
    path = folder / "checkpoint.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def describe(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "checkpoint.json"
        path.write_text(document_text({**parse_document(path.read_bytes()), **changes}))

    return change


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "weights.safetensors").unlink(), r"weights\.safetensors"),
        (truncate, r"weights\.safetensors"),
        (lie_about_length, r"weights\.safetensors"),
        (poison, r"weights\.safetensors.*NaN.*down\.bias"),
        (exchange, r"weights\.safetensors"),
        (lambda folder: (folder / "checkpoint.json").unlink(), r"checkpoint\.json"),
        (lambda folder: (folder / "checkpoint.json").write_text("{"), r"checkpoint\.json"),
        (lambda folder: (folder / "checkpoint.json").write_text("[]"), r"checkpoint\.json"),
        (with_another_seed, r"checkpoint\.json.*damaged"),
        (describe(schema="mosaic-checkpoint/9"), "'mosaic-checkpoint/9'"),
        (describe(shape=[1, 2]), r"checkpoint\.json.*: shape"),
        (describe(shape=[1.0, 6.0, 5.0]), r"checkpoint\.json.*: shape"),
        (describe(shape=["a", "b", "c"]), r"checkpoint\.json.*: shape"),
        (describe(dataset_fingerprint=None), "dataset_fingerprint"),
        (describe(configuration={"nonsense": 1}), r"configuration\.nonsense"),
        (lambda folder: (folder / "checkpoint.json").write_text("[" * 200_000), r"checkpoint\.json"),
        (shutil.rmtree, "'net'"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(
    tiny: mosaic.DataSet, damage: Callable[[Path], None], named: str
) -> None:
    folder = train(tiny).folder
    damage(folder)
    with pytest.raises(mosaic.DataError, match=named) as caught:
        mosaic.load_checkpoint(folder).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["weights.safetensors", "training.safetensors"])
@pytest.mark.parametrize("place", [-3, "step"])
def test_numbers_that_are_not_those_written_are_refused(tiny: mosaic.DataSet, name: str, place: int | str) -> None:
    """In the tensors, and among the numbers beside them."""
    train(tiny, epochs=1)
    path = Path("net", name)
    content = bytearray(path.read_bytes())
    at = content.index(b'"step":"') + 8 if place == "step" else len(content) + int(place)
    content[at] ^= 1
    path.write_bytes(content)
    used = mosaic.load_checkpoint("net").load if name.startswith("weights") else lambda: train(tiny, resume=True)
    with pytest.raises(mosaic.DataError, match=rf"{name}'.*damaged"):
        used()


def test_it_shows_its_folder_network_and_data_in_a_line(tiny: mosaic.DataSet) -> None:
    assert repr(train(tiny, epochs=1)) == "Checkpoint('net', resnet on tiny)"


def test_it_is_taken_where_a_path_is(tiny: mosaic.DataSet) -> None:
    checkpoint = train(tiny, epochs=1)
    assert mosaic.load_checkpoint(checkpoint).description == checkpoint.description
    run = mosaic.run("network", tiny, score_options={"checkpoint": checkpoint}, steps=2, samples=1)
    assert json.loads(run.attrs["configuration"])["score_options"] == {"checkpoint": "net"}


def test_a_notebook_shows_what_was_trained_without_its_weights(
    tiny: mosaic.DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    actual = train(tiny, epochs=2)
    monkeypatch.setattr(sys.modules["mosaic.train.checkpoint"], "load_file", None)
    shown = actual._repr_html_()
    for text in ("resnet (", "channels 4", "tiny, 12 images of 1 x 6 x 5", "2.0 of 2 epochs", "cosine"):
        assert text in shown
    (actual.folder / "weights.safetensors").unlink()
    assert "not known" in actual._repr_html_()
