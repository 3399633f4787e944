"""`mosaic convert`: weights from elsewhere become a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable

import foreign_networks as oracle
import pytest
import torch
from click.testing import Result
from command_results import done, notes, refused

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _file() -> None:
    torch.save(oracle.weights_of(oracle.resnet_shapes(1, 16, 1)), "backbone.pt")


def test_it_prints_the_folder_and_says_what_is_assumed(invoke: Invoke) -> None:
    result = done(invoke("convert", "backbone.pt", "--dataset", "digits"))
    assert result.stdout == "backbone\n"
    assert any("-o network.padding=zeros" in note and "--schedule cosine" in note for note in notes(result))
    given = ("-o", "network.padding=circular", "--schedule", "cosine")
    result = done(invoke("convert", "backbone.pt", "--dataset", "digits", *given, "--json"))
    actual = json.loads(result.stdout)
    assert (actual["path"], actual["converted"]["assumed"]) == ("backbone-2", {})
    assert actual["configuration"]["network_options"]["padding"] == "circular"
    assert not any("assumed" in note for note in notes(result))


def test_its_folder_is_used_like_any_checkpoint(invoke: Invoke) -> None:
    done(invoke("convert", "backbone.pt", "--dataset", "digits", "-o", "dataset.limit=30", "--out", "net"))
    actual = json.loads(done(invoke("inspect", "--json", "net")).stdout)
    assert (actual["progress"], actual["dataset_size"], actual["receptive_field"]) == (None, 30, 7)
    run = ("run", "--score", "network", "-o", "score.checkpoint=net", "-o", "dataset.limit=30")
    done(invoke(*run, "--steps", 2, "--samples", 1))
    refused(invoke("train", "--out", "net", "--resume"), 2, "net", "--out")


def test_what_cannot_be_converted_is_refused(invoke: Invoke) -> None:
    refused(invoke("convert", "backbone.pt"), 2, "--dataset")
    refused(invoke("convert", "nowhere.pt", "--dataset", "digits"), 4, "nowhere.pt")
    refused(invoke("convert", "backbone.pt", "--dataset", "digits", "-o", "network.sides=3"), 2, "sides")
    refused(invoke("convert", "backbone.pt", "--dataset", "digits", "--network", "unets"), 3, "unets", "unet")
