"""Runs beside a training."""

from __future__ import annotations

import pytest

import mosaic
from mosaic.run.config import RunConfig
from mosaic.train.runs import boundary_of, labels_of, network_run, run_beside

TRAINED = mosaic.TrainConfig(
    dataset="mnist",
    dataset_options={"limit": 100, "limit_seed": 1},
    schedule="linear",
    schedule_options={"t_max": 0.5},
    network_options={"padding": "circular", "class_conditional": True},
)


def test_data_and_schedule_are_those_of_the_training_unless_given() -> None:
    run = run_beside(TRAINED, score="is", steps=3)
    assert run == RunConfig(
        score="is",
        steps=3,
        dataset="mnist",
        dataset_options=TRAINED.dataset_options,
        schedule="linear",
        schedule_options={"t_max": 0.5},
        labels="random",
    )
    assert run_beside(TRAINED, dataset_options={"limit": 5}).dataset_options == {"limit": 5, "limit_seed": 1}
    other = run_beside(TRAINED, dataset="digits", dataset_options={"limit": 5}, labels="none")
    assert (other.dataset, other.dataset_options, other.labels) == ("digits", {"limit": 5}, "none")


def test_the_networks_own_run_names_its_checkpoint() -> None:
    run = network_run(TRAINED, "net", score_options={"batch": 2}, samples=3)
    assert (run.score, run.score_options) == ("network", {"checkpoint": "net", "batch": 2})
    assert (run.dataset, run.samples) == ("mnist", 3)


@pytest.mark.parametrize(("options", "labels"), [({}, "none"), ({"class_conditional": True}, "random")])
def test_labels_are_random_for_a_network_that_is_given_classes(options: dict[str, bool], labels: str) -> None:
    assert labels_of(mosaic.TrainConfig(network_options=options)) == labels


def test_the_boundary_is_the_networks_padding_where_both_have_one() -> None:
    els, ideal = (mosaic.registry().get("score", name) for name in ("els", "is"))
    assert boundary_of(TRAINED, els) == {"boundary": "circular"}
    assert boundary_of(TRAINED, ideal) == {}
    assert boundary_of(mosaic.TrainConfig(), els) == {}
