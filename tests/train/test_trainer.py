"""Training as a job: folders, resuming, stopping, what is kept; and checkpoints that cannot be used."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file
from small_training import SMALL, train

import mosaic


def same_tensors(file: Path, other: Path) -> bool:
    first, second = load_file(file), load_file(other)
    first.pop("seconds", None), second.pop("seconds", None)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_loss_of_every_step_is_kept_as_netcdf(tiny: mosaic.DataSet) -> None:
    train(tiny)
    with xr.open_dataset("net/loss.nc") as history:
        assert history["loss"].sizes == {"step": 9}
        assert history["epoch"].values.tolist() == pytest.approx([i / 3 for i in range(1, 10)])
        assert history["learning_rate"].values == pytest.approx(1e-3 * 0.999965 ** np.arange(9))
        kept = load_file("net/training.safetensors")["loss"]
        assert history["loss"].values.tolist() == kept.tolist()
        assert all(variable.attrs["long_name"] for variable in history.variables.values())


def test_the_weights_are_the_running_average(tiny: mosaic.DataSet) -> None:
    actual = train(tiny, ema=0.5, learning_rate=0.05)
    state, weights = load_file("net/training.safetensors"), actual.load().state_dict()
    for name, value in weights.items():
        assert torch.equal(value, state[f"average.{name}"])
    assert any(not torch.equal(value, state[f"module.{name}"]) for name, value in weights.items())


def test_a_training_in_two_sessions_ends_with_the_same_weights_and_losses(tiny: mosaic.DataSet) -> None:
    train(tiny, "whole", epochs=4)
    train(tiny, "parts", epochs=2)
    train(tiny, "parts", epochs=4, resume=True)
    for name in ("weights.safetensors", "training.safetensors"):
        assert same_tensors(Path("whole", name), Path("parts", name))
    with xr.open_dataset("whole/loss.nc") as whole, xr.open_dataset("parts/loss.nc") as parts:
        assert whole["loss"].values.tolist() == parts["loss"].values.tolist()


def test_the_learning_rate_falls_by_default_as_far_as_the_papers(tiny: mosaic.DataSet) -> None:
    """To 0.999965 ** 140700 of itself, whatever the number of steps; over the paper's own, 0.999965 a step."""
    mosaic.train("resnet", tiny, out="net", epochs=7, batch_size=5, network_options={"channels": 2, "blocks": 0})
    with xr.open_dataset("net/loss.nc") as history:
        rates = history["learning_rate"].values
    assert len(rates) == 21
    assert rates[0] == 1e-4
    assert rates[1:] / rates[:-1] == pytest.approx(np.full(20, math.exp(140_700 / 21 * math.log(0.999965))))
    assert 0.007 < rates[-1] / rates[0] < 0.01


def test_more_epochs_stretch_the_decay_that_was_not_asked_for_and_are_remembered(tiny: mosaic.DataSet) -> None:
    free = {**SMALL, "lr_decay": None}
    mosaic.train("resnet", tiny, out="net", epochs=2, **free)
    mosaic.train("resnet", tiny, out="net", epochs=8, resume=True, max_time=1e-9)
    actual = mosaic.train(out="net", dataset=tiny, resume=True)
    assert (actual.config.epochs, actual.progress()["epoch"]) == (8, 8)
    with xr.open_dataset("net/loss.nc") as history:
        rates = history["learning_rate"].values
        assert json.loads(history.attrs["description"])["configuration"]["epochs"] == 8
    fall = 140_700 * math.log(0.999965)
    assert rates[:6] == pytest.approx(1e-3 * np.exp(fall * np.arange(6) / 6))
    assert rates[6:] == pytest.approx(1e-3 * np.exp(fall * np.arange(6, 24) / 24))


@pytest.mark.parametrize("unused", [{"data_dir": "data"}, {"download": True}, {"dataset_options": {"limit": 3}}])
def test_where_to_find_data_that_are_given_would_not_be_used(tiny: mosaic.DataSet, unused: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError, match=f"`{next(iter(unused))}` would not be used"):
        mosaic.train("resnet", tiny, out="net", **unused)


# Checkpoints that cannot be used
