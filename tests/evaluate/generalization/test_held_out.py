"""Held-out images: those that are in the training set are left out, or refused where they are many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mosaic
from mosaic.evaluate.generalization.held_out import load_held_out, unseen

ACCESS = mosaic.DataAccess()


def data(images: torch.Tensor) -> mosaic.DataSet:
    return mosaic.DataSet("made", images)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(400, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_images_that_are_few_or_blank_are_left_out_with_a_note(images: torch.Tensor) -> None:
    training, held = images[:200].clone(), images[200:].clone()
    assert unseen(data(held), data(training)) == (pytest.approx(torch.arange(200)), [])
    training[:2], held[3:8] = -1.0, -1.0  # blank
    training[5, 0, 0, 0], held[9] = 0.0, training[5]
    held[9, 0, 0, 0] = -0.0
    places, (note,) = unseen(data(held), data(training))
    assert places.tolist() == [n for n in range(200) if n not in (3, 4, 5, 6, 7, 9)]
    assert "6 of 200" in note
    assert "5 of them" in note


@pytest.mark.parametrize("count", [3, 200])
def test_images_that_are_many_are_refused_with_their_number(images: torch.Tensor, count: int) -> None:
    training, held = images[:200], images[200:].clone()
    held[:count] = training[:count]
    with pytest.raises(mosaic.UsageError, match=rf"\b{count} of the 200\b"):
        unseen(data(held), data(training))


def test_only_blank_images_are_none(images: torch.Tensor) -> None:
    with pytest.raises(mosaic.UsageError, match="3 of the 3"):
        unseen(data(torch.zeros(3, 1, 3, 3)), data(torch.zeros(5, 1, 3, 3)))


def test_options_go_over_those_of_the_training_set(tmp_path: Path, images: torch.Tensor) -> None:
    for name, part in (("train", images[:200]), ("test", images[200:])):
        np.savez(tmp_path / f"{name}.npz", images=(part[:, 0].numpy() + 1) * 127.5, labels=np.arange(200) % 4)
    options = {"path": tmp_path / "train.npz", "range": (0.0, 255.0), "limit": 50}
    training = mosaic.score("is", "file", dataset_options=options).model.dataset
    held = load_held_out({"path": str(tmp_path / "test.npz"), "limit": 30}, training, ACCESS)
    assert len(held) == 30
    assert held.labels is not None
    assert float(held.images.max()) <= 1
    assert held.options["range"] == [0, 255]
    rest = load_held_out({"skip": 50}, training, ACCESS)
    assert len(rest) == 50
    assert unseen(rest, training)[1] == []
    with pytest.raises(mosaic.UsageError, match=r"'slip'.*'skip'"):
        load_held_out({"slip": 3}, training, ACCESS)


def test_images_of_another_type_are_compared_in_the_training_sets(images: torch.Tensor) -> None:
    training = data(images)
    held = load_held_out(data(images.double()), training, ACCESS)
    assert held.images.dtype == torch.float32
    with pytest.raises(mosaic.UsageError, match="400 of the 400"):
        unseen(held, training)
