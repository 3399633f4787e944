"""The runs of a network, and runs beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mosaic
from mosaic.run.config import RunConfig
from mosaic.train.runs import network_runs, runs_of_training

TRAINED = mosaic.TrainConfig(
    dataset="mnist",
    dataset_options={"limit": 100, "limit_seed": 1},
    schedule="linear",
    schedule_options={"t_max": 0.5},
    network_options={"padding": "circular", "class_conditional": True},
)


def test_data_and_schedule_are_those_of_the_training_unless_given() -> None:
    runs = runs_of_training(TRAINED, "net")
    assert runs.beside(score="is", steps=3) == RunConfig(
        score="is",
        steps=3,
        dataset="mnist",
        dataset_options=TRAINED.dataset_options,
        schedule="linear",
        schedule_options={"t_max": 0.5},
        labels="random",
    )
    assert runs.beside(dataset_options={"limit": 5}).dataset_options == {"limit": 5, "limit_seed": 1}
    other = runs.beside(dataset="digits", dataset_options={"limit": 5}, labels="none")
    assert (other.dataset, other.dataset_options, other.labels) == ("digits", {"limit": 5}, "none")


def test_the_networks_own_run_names_its_checkpoint() -> None:
    run = runs_of_training(TRAINED, "net").own(score_options={"batch": 2}, samples=3)
    assert (run.score, run.score_options) == ("network", {"checkpoint": "net", "batch": 2})
    assert (run.dataset, run.samples) == ("mnist", 3)


@pytest.mark.parametrize(("options", "labels"), [({}, "none"), ({"class_conditional": True}, "random")])
def test_labels_are_random_for_a_network_that_is_given_classes(options: dict[str, bool], labels: str) -> None:
    assert runs_of_training(mosaic.TrainConfig(network_options=options), "net").labels == labels


def test_the_boundary_is_the_networks_padding_where_both_have_one() -> None:
    runs = runs_of_training(TRAINED, "net")
    assert runs.boundary_for("els") == {"boundary": "circular"}
    assert runs.boundary_for("is") == {}
    assert runs_of_training(mosaic.TrainConfig(), "net").boundary_for("els") == {}


def test_a_network_is_the_same_as_a_folder_a_checkpoint_and_a_score(tiny: mosaic.DataSet) -> None:
    options = {"channels": 4, "blocks": 1, "padding": "circular", "class_conditional": True}
    checkpoint = mosaic.train("resnet", tiny, out="net", network_options=options, epochs=1)
    given = [Path("net"), "net", checkpoint, mosaic.score(checkpoint, tiny)]
    runs = [network_runs(each, mosaic.DataAccess(), dataset=tiny) for each in given]
    for each in runs:
        assert (each.labels, each.padding, each.receptive_field) == ("random", "circular", 7)
        assert (each.settings["dataset"], each.settings["schedule"]) == ("tiny", "cosine")
    assert [each.is_object for each in runs] == [False, False, False, True]
    assert runs[-1].model is not None


def test_any_score_is_a_network_of_which_only_its_settings_are_known(tiny: mosaic.DataSet) -> None:
    schedule = mosaic.registry().make("schedule", "linear", {})
    runs = network_runs(mosaic.score(lambda x, t: torch.zeros_like(x), tiny, schedule=schedule), mosaic.DataAccess())
    assert (runs.labels, runs.padding, runs.receptive_field, runs.is_object) == ("none", None, None, True)
    assert runs.own(steps=2).schedule == "linear"


@pytest.mark.parametrize("network", ["nowhere", "els", "."])
def test_what_is_not_a_network_is_refused(network: str) -> None:
    with pytest.raises(mosaic.MosaicError, match=network):
        network_runs(network, mosaic.DataAccess())
