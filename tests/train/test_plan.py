"""A training that is ready to start: its steps, its untrained network, and its description."""

from __future__ import annotations

from dataclasses import replace

import torch
from small_training import SMALL

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic.train.plan import TrainPlan, describe_training
from mosaic.train.prepare import prepare_training


def plan_of(data: mosaic.DataSet, seed: int = 0, **options: object) -> TrainPlan:
    settings = {**SMALL, "network_options": {**SMALL["network_options"], **options}}
    return prepare_training(
        mosaic.TrainConfig(network="resnet", epochs=4, seed=seed, **settings), DataAccess(), dataset=data
    )


def test_steps_are_those_of_all_epochs(tiny: mosaic.DataSet) -> None:
    assert plan_of(tiny).steps == 4 * 3  # twelve images, five a step


def test_the_seed_decides_the_untrained_weights(tiny: mosaic.DataSet) -> None:
    first, again, another = (list(plan_of(tiny, seed).build().module.parameters()) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, another, strict=True))


def test_a_network_is_given_classes_only_where_it_asks_for_them(tiny: mosaic.DataSet) -> None:
    assert not plan_of(tiny).is_conditional
    conditional = plan_of(tiny, class_conditional=True)
    assert conditional.is_conditional
    x, labels = torch.zeros(3, 1, 6, 5), torch.tensor([0, 1, 2])
    images = conditional.build().module(x, torch.full((3,), 0.5), labels)
    assert not torch.equal(images[0], images[1])


def test_the_description_names_data_and_settings(tiny: mosaic.DataSet) -> None:
    description = describe_training(plan_of(tiny))
    assert description["dataset_fingerprint"] == tiny.fingerprint()
    assert (description["shape"], description["dataset_size"]) == ((1, 6, 5), 12)
    assert mosaic.TrainConfig.model_validate(description["configuration"]).epochs == 4


def test_notes_of_the_data_set_are_notes_of_the_training(tiny: mosaic.DataSet) -> None:
    noted = replace(tiny, notes=("Two images were left out.",))
    assert prepare_training(mosaic.TrainConfig(network="resnet"), DataAccess(), dataset=noted).notes == noted.notes
