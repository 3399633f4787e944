"""`mosaic train`: a checkpoint, its settings, and how a training is resumed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from command_results import done, refused

import mosaic

Invoke = Callable[..., Result]


def test_train_picks_unused_folders_and_prints_json(invoke: Invoke) -> None:
    small = ("-o", "network.channels=2", "-o", "dataset.limit=20", "--epochs", 1)
    assert done(invoke("train", *small)).stdout == "resnet-digits\n"
    result = done(invoke("train", *small, "--json"))
    actual = json.loads(result.stdout)
    assert (actual["path"], actual["step"], actual["epoch"]) == ("resnet-digits-2", 1, 1)
    assert re.search(r"\d images/s", result.stderr)


def test_train_takes_settings_from_flags_file_and_environment(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.toml").write_text('epochs = 2\nbatch_size = 8\n[network]\nname = "unet"\nchannels = [3, 4]\n')
    monkeypatch.setenv("MOSAIC_LEARNING_RATE", "0.01")
    monkeypatch.setenv("MOSAIC_OPTIONS", "dataset.limit=16 score.boundary=circular")
    done(invoke("train", "--config", "train.toml", "--batch-size", 4, "--out", "net"))
    actual = mosaic.load_checkpoint(Path("net"))
    assert (actual.config.network, actual.config.network_options["channels"]) == ("unet", [3, 4])
    assert (actual.config.batch_size, actual.config.epochs, actual.config.learning_rate) == (4, 2, 0.01)
    assert actual.description["dataset_size"] == 16


def test_resume_takes_the_settings_of_the_training(invoke: Invoke, checkpoint: Path) -> None:
    done(invoke("train", "--resume", "--epochs", 3, "--out", "net"))
    actual = mosaic.load_checkpoint(checkpoint)
    assert actual.progress()["epoch"] == 3
    assert actual.config.network_options["channels"] == 4
    refused(invoke("train", "--resume", "--out", "net", "--seed", 4), 2, "'net'", "configuration.seed: 0, now 4")
    refused(invoke("train", "--resume"), 2, "--resume", "--out")
    refused(invoke("train", "--resume", "--overwrite", "--out", "net"), 2, "--resume", "--overwrite")


def test_a_training_with_nothing_left_names_the_flags_for_more(invoke: Invoke, checkpoint: Path) -> None:
    before = (checkpoint / "weights.safetensors").read_bytes()
    result = done(invoke("train", "--resume", "--out", checkpoint))
    assert re.search(r"\b2\.0\b.*--epochs\b", result.stderr)
    assert (checkpoint / "weights.safetensors").read_bytes() == before


def test_a_training_that_is_out_of_time_names_the_command_that_resumes(invoke: Invoke, tmp_path: Path) -> None:
    small = ("-o", "network.channels=2", "-o", "dataset.limit=20", "--epochs", 100_000)
    result = done(invoke("train", *small, "--max-time", "0.05s", "--out", "net"))
    assert "mosaic train --out net --resume --max-time" in result.stderr
    assert 0 < mosaic.load_checkpoint(tmp_path / "net").progress()["step"] < 100_000


@pytest.mark.parametrize(
    ("arguments", "code", "values"),
    [
        (["resnt"], 3, ["'resnt'", "'resnet'"]),
        (["--dataset", "digts"], 3, ["'digts'", "'digits'"]),
        (["-o", "network.chanels=3"], 2, ["'chanels'", "'channels'"]),
        (["-o", "network.channels=0"], 2, ["'channels'", "'0'"]),
        (["-o", "score.boundary=zeros"], 2, ["'score'", "network, dataset, schedule"]),
        (["unet", "-o", "network.channels=2,2,2,2,2"], 2, ["5", "16", "8 x 8"]),
        (["--epochs", "0"], 2, ["'epochs'", "'0'"]),
        (["--learning-rate", "-1"], 2, ["'learning_rate'", "'-1'"]),
        (["--precision", "float16"], 2, ["'float16'"]),
        (["--max-time", "soon"], 2, ["--max-time", "'soon'", "90s"]),
        (["--save-every", "never"], 2, ["--save-every", "'never'"]),
        (["--device", "quantum"], 2, ["'quantum'"]),
        (["--out", "nowhere/net"], 2, ["nowhere"]),
        (["--dataset", "mnist", "--data-dir", "nowhere"], 4, ["'mnist'"]),
    ],
)
def test_a_bad_training_is_refused_before_anything_is_written(
    invoke: Invoke, tmp_path: Path, arguments: list[str], code: int, values: list[str]
) -> None:
    refused(invoke("train", *arguments), code, *values)
    assert list(tmp_path.iterdir()) == []


def test_train_says_how_the_data_were_read(tmp_path: Path, invoke: Invoke) -> None:
    np.save(tmp_path / "masks.npy", np.eye(6, dtype=np.uint8)[None].repeat(4, 0))
    result = invoke(
        "train", "--dataset", "file", "-o", f"dataset.path={tmp_path / 'masks.npy'}", "--epochs", 1, "--out", "net"
    )
    assert result.exit_code == 0
    assert "-o dataset.range=0,1" in result.stderr
