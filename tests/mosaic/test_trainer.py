"""Training as a job: folders, resuming, stopping, what is kept; and checkpoints that cannot be used."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file, save_file

import mosaic
from mosaic.dataset import DataAccess
from mosaic.sitting import Sitting, TrainProgress
from mosaic.train_plan import parse_seconds, prepare_training

SMALL: dict[str, Any] = {
    "network_options": {"channels": 4, "blocks": 1},
    "batch_size": 5,
    "precision": "float32",
    "learning_rate": 1e-3,
    "lr_decay": 0.999965,
}


def train(tiny: mosaic.DataSet, out: str = "net", **settings: Any) -> mosaic.Checkpoint:
    return mosaic.train("resnet", tiny, out=out, **{**SMALL, "epochs": 3, **settings})


def same_tensors(one: Path, two: Path) -> bool:
    first, second = load_file(one), load_file(two)
    first.pop("seconds", None), second.pop("seconds", None)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), ("45", 45), ("1.5s", 1.5)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "10 minutes", "-5s", "1d", "s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(mosaic.UsageError, match="--max-time"):
        parse_seconds(text)


def test_a_checkpoint_tells_what_was_trained_on_what(tiny: mosaic.DataSet) -> None:
    found = train(tiny)
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "checkpoint.json",
        "loss.nc",
        "training.safetensors",
        "weights.safetensors",
    ]
    assert found.shape == tiny.shape
    assert found.classes == ()
    assert found.description["dataset_fingerprint"] == tiny.fingerprint
    assert found.config.network_options == {"padding": "zeros", "class_conditional": False, "channels": 4, "blocks": 1}
    assert found.config.schedule == "cosine"
    assert found.receptive_field == 7
    assert found.progress["step"] == 9
    assert found.progress["epoch"] == 3


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
    found = train(tiny, ema=0.5, learning_rate=0.05)
    state, weights = load_file("net/training.safetensors"), found.load().state_dict()
    for name, value in weights.items():
        assert torch.equal(value, state[f"average.{name}"])
    assert any(not torch.equal(value, state[f"module.{name}"]) for name, value in weights.items())


def test_a_training_in_two_sittings_ends_with_the_same_weights_and_losses(tiny: mosaic.DataSet) -> None:
    train(tiny, "whole", epochs=4)
    train(tiny, "parts", epochs=2)
    train(tiny, "parts", epochs=4, resume=True)
    for name in ("weights.safetensors", "training.safetensors"):
        assert same_tensors(Path("whole", name), Path("parts", name))
    with xr.open_dataset("whole/loss.nc") as whole, xr.open_dataset("parts/loss.nc") as parts:
        assert whole["loss"].values.tolist() == parts["loss"].values.tolist()


def test_resuming_a_finished_training_changes_nothing_and_resuming_nothing_starts(tiny: mosaic.DataSet) -> None:
    first = train(tiny, resume=True)
    again = train(tiny, resume=True)
    assert first.fingerprint == again.fingerprint
    assert again.progress["step"] == 9


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


def test_other_data_are_not_resumed_with(tiny: mosaic.DataSet) -> None:
    train(tiny)
    with pytest.raises(mosaic.UsageError, match="fingerprint"):
        train(tiny.select(torch.arange(11)), resume=True)


def test_a_taken_folder_is_refused_and_overwritten_only_on_request(tiny: mosaic.DataSet) -> None:
    first = train(tiny).fingerprint
    with pytest.raises(mosaic.UsageError, match="--resume to go on, --overwrite"):
        train(tiny, seed=1)
    assert train(tiny, seed=1, overwrite=True).fingerprint != first


def test_a_folder_of_other_files_is_left_alone(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(mosaic.UsageError, match="holds other files"):
            train(tiny, "mine", **how)
    with pytest.raises(mosaic.UsageError, match="is a file"):
        train(tiny, "mine/thesis.txt")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


def test_max_time_stops_with_a_checkpoint(tiny: mosaic.DataSet) -> None:
    found = train(tiny, epochs=10_000_000, max_time="0.5s")
    assert 1 <= found.progress["step"] < 3 * 10_000_000
    assert 0.5 <= found.progress["seconds"] < 10


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
    found = mosaic.train(out="net", dataset=tiny, resume=True)
    assert (found.config.epochs, found.progress["epoch"]) == (8, 8)
    with xr.open_dataset("net/loss.nc") as history:
        rates = history["learning_rate"].values
        assert json.loads(history.attrs["description"])["configuration"]["epochs"] == 8
    fall = 140_700 * math.log(0.999965)
    assert rates[:6] == pytest.approx(1e-3 * np.exp(fall * np.arange(6) / 6))
    assert rates[6:] == pytest.approx(1e-3 * np.exp(fall * np.arange(6, 24) / 24))


def test_progress_is_reported_and_counts_images(tiny: mosaic.DataSet) -> None:
    seen: list[TrainProgress] = []
    train(tiny, report=seen.append)
    last = seen[-1]
    assert (last.step, last.steps, last.epoch) == (9, 9, 3.0)
    assert math.isclose(last.images_per_second * last.seconds, 36, rel_tol=0.2)


def test_a_loss_that_turns_nan_stops_and_leaves_the_last_good_checkpoint(tiny: mosaic.DataSet) -> None:
    good = train(tiny, learning_rate=1e-3).fingerprint
    state = load_file("net/training.safetensors")
    state["module.up.weight"] *= 1e38  # as if Adam had run away
    save_file(state, "net/training.safetensors")
    with pytest.raises(mosaic.MosaicError, match=r"(nan|inf) at step 10 of 15.*last good checkpoint is kept in 'net'"):
        train(tiny, resume=True, epochs=5)
    assert mosaic.load_checkpoint(Path("net")).fingerprint == good


def test_a_nan_before_the_first_checkpoint_keeps_none(tiny: mosaic.DataSet) -> None:
    huge = mosaic.DataSet("huge", tiny.images * 1e30, range=(-1e31, 1e31))
    with pytest.raises(mosaic.MosaicError, match=r"inf at step 1 of 9\. No checkpoint was made yet"):
        train(huge)
    with pytest.raises(mosaic.DataError, match=r"holds no weights\.safetensors"):
        mosaic.load_checkpoint(Path("net")).load()


def test_weights_that_turn_nan_in_the_last_step_are_not_kept(tiny: mosaic.DataSet) -> None:
    good = train(tiny)
    plan = prepare_training([{"network": "resnet", **SMALL, "epochs": 5}], DataAccess(), tiny)
    sitting = Sitting(plan.start(), good.folder, good.description, True, lambda progress: None)
    sitting.training.module.get_parameter("up.weight").data.fill_(math.nan)
    with pytest.raises(mosaic.MosaicError, match=r"weights became NaN or infinite by step 9 of 15.*kept in 'net'"):
        sitting.save()
    assert mosaic.load_checkpoint(Path("net")).fingerprint == good.fingerprint


def test_a_checkpoint_stays_until_the_one_that_overwrites_it_is_there(tiny: mosaic.DataSet) -> None:
    good = train(tiny)
    files = {path.name: path.read_bytes() for path in good.folder.iterdir()}
    huge = mosaic.DataSet("huge", tiny.images * 1e30, range=(-1e31, 1e31))
    with pytest.raises(mosaic.MosaicError, match="last good checkpoint is kept"):
        train(huge, overwrite=True)
    assert {path.name: path.read_bytes() for path in good.folder.iterdir()} == files


@pytest.mark.parametrize(
    "left", [".checkpoint.json.tmp", "weights.safetensors", ".training.safetensors.tmp", "training.safetensors"]
)
def test_what_a_kill_leaves_of_a_first_checkpoint_is_no_obstacle(tiny: mosaic.DataSet, left: str) -> None:
    for how in ({"resume": True}, {"overwrite": True}, {}):
        shutil.rmtree("net", ignore_errors=True)
        Path("net").mkdir()
        Path("net", left).write_bytes(b"half")
        assert train(tiny, **how).load() is not None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("seconds"),
        lambda state: state.pop("adam.exp_avg.up.weight"),
        lambda state: state.update(step=torch.tensor(-5)),
        lambda state: state.update(step=torch.tensor([1, 2])),
        lambda state: state.update(loss=torch.ones(2)),
        lambda state: state.update({"module.up.weight": torch.ones(2)}),
    ],
)
def test_a_spoilt_state_is_refused_in_one_sentence(
    tiny: mosaic.DataSet, spoil: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    train(tiny)
    state = load_file("net/training.safetensors")
    spoil(state)
    save_file(state, "net/training.safetensors")
    with pytest.raises(mosaic.DataError, match=r"is no state of this training") as caught:
        train(tiny, epochs=9, resume=True)
    assert "\n" not in str(caught.value)


def test_labels_are_needed_by_a_network_with_classes(tiny: mosaic.DataSet) -> None:
    options = {**SMALL["network_options"], "class_conditional": True}
    found = train(tiny, network_options=options)
    assert found.classes == ("a", "b", "c")
    unlabelled = mosaic.DataSet("bare", tiny.images)
    with pytest.raises(mosaic.UsageError, match="has no labels"):
        train(unlabelled, "other", network_options=options)


def test_defaults_of_the_data_set_come_before_the_general_ones_and_after_what_is_asked_for(
    tiny: mosaic.DataSet,
) -> None:
    own = {"learning_rate": 0.02, "networks": {"resnet": {"channels": 3}, "unet": {"channels": [2]}}}
    data = mosaic.DataSet("own", tiny.images, training=own)
    found = mosaic.train("resnet", data, out="a", epochs=1, network_options={"blocks": 1}).config
    assert (found.learning_rate, found.network_options["channels"], found.network_options["blocks"]) == (0.02, 3, 1)
    asked = mosaic.train("unet", data, out="b", epochs=1, learning_rate=0.5, seed=3).config
    assert (asked.learning_rate, asked.network_options["channels"]) == (0.5, [2])


# Checkpoints that cannot be used


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


def describe(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "checkpoint.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "weights.safetensors").unlink(), r"holds no weights\.safetensors"),
        (truncate, "cannot be read.*truncated"),
        (lie_about_length, "cannot be read"),
        (poison, r"hold NaN or infinity \(in down\.bias\)"),
        (exchange, "are of another network"),
        (lambda folder: (folder / "checkpoint.json").unlink(), r"is no checkpoint: it holds no checkpoint\.json"),
        (lambda folder: (folder / "checkpoint.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "checkpoint.json").write_text("[]"), "cannot be read"),
        (describe(schema="mosaic-checkpoint/9"), "has the schema 'mosaic-checkpoint/9'"),
        (describe(shape=[1, 2]), "cannot be read: shape"),
        (describe(shape=[1.0, 6.0, 5.0]), "cannot be read: shape"),
        (describe(shape=["a", "b", "c"]), "cannot be read: shape"),
        (describe(dataset_fingerprint=None), "cannot be read: dataset_fingerprint"),
        (describe(configuration={"nonsense": 1}), "cannot be read: configuration.nonsense"),
        (lambda folder: (folder / "checkpoint.json").write_text("[" * 200_000), "cannot be read"),
        (shutil.rmtree, "There is no checkpoint folder"),
    ],
)
def test_a_spoilt_checkpoint_is_refused_in_one_sentence(
    tiny: mosaic.DataSet, spoil: Callable[[Path], None], named: str
) -> None:
    folder = train(tiny).folder
    spoil(folder)
    with pytest.raises(mosaic.DataError, match=named) as caught:
        mosaic.load_checkpoint(folder).load()
    assert "\n" not in str(caught.value)


def test_an_option_that_the_network_does_not_have_is_refused(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=r"no option 'chanels'.*Did you mean 'channels'"):
        train(tiny, network_options={"chanels": 3})
    with pytest.raises(mosaic.PluginError, match=r"no network 'resnt'.*Did you mean 'resnet'"):
        mosaic.train("resnt", tiny, out="net")
    assert not Path("net").exists()
