"""The four commands of the experiment: train, calibrate, run, compare, from the digits to a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from PIL import Image
from safetensors.torch import load_file, save_file

import mosaic

Invoke = Callable[..., Result]


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output + result.stderr
    return result


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    for word in words:
        assert word in line


def drawn(path: Path) -> bool:
    with Image.open(path) as picture:
        return bool(np.ptp(np.asarray(picture.convert("L"))) > 100)


@pytest.fixture
def checkpoint(invoke: Invoke) -> Path:
    small = ("-o", "network.channels=4", "-o", "network.blocks=1", "-o", "dataset.limit=40")
    return Path(done(invoke("train", *small, "--epochs", 2, "--out", "net")).stdout.strip())


def test_train_picks_unused_folders_and_prints_json(invoke: Invoke) -> None:
    small = ("-o", "network.channels=2", "-o", "dataset.limit=20", "--epochs", 1)
    assert done(invoke("train", *small)).stdout == "resnet-digits\n"
    result = done(invoke("train", *small, "--json"))
    actual = json.loads(result.stdout)
    assert (actual["path"], actual["step"], actual["epoch"]) == ("resnet-digits-2", 1, 1)
    assert "images/s" in result.stderr


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
    refused(invoke("train", "--resume", "--out", "net", "--seed", 4), 2, "seed: 0, now 4")
    refused(invoke("train", "--resume"), 2, "--resume needs --out")
    refused(invoke("train", "--resume", "--overwrite", "--out", "net"), 2, "exclude each other")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["resnt"], 3, ["'resnt'", "'resnet'"]),
        (["--dataset", "digts"], 3, ["'digts'"]),
        (["-o", "network.chanels=3"], 2, ["'chanels'", "'channels'"]),
        (["-o", "network.channels=0"], 2, ["channels", "'0'"]),
        (["-o", "score.boundary=zeros"], 2, ["'score'", "network, dataset, schedule"]),
        (["unet", "-o", "network.channels=2,2,2,2,2"], 2, ["16", "8 x 8"]),
        (["--epochs", "0"], 2, ["epochs", "'0'"]),
        (["--learning-rate", "-1"], 2, ["learning_rate"]),
        (["--precision", "float16"], 2, ["float16"]),
        (["--max-time", "soon"], 2, ["--max-time 'soon'", "90s"]),
        (["--save-every", "never"], 2, ["--save-every 'never'"]),
        (["--device", "quantum"], 2, ["'quantum'"]),
        (["--out", "nowhere/net"], 2, ["nowhere"]),
        (["--dataset", "mnist", "--data-dir", "nowhere"], 4, ["mnist"]),
    ],
)
def test_bad_training_is_refused_in_one_sentence(
    invoke: Invoke, tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    refused(invoke("train", *arguments), code, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_used_is_refused_before_anything_is_written(
    invoke: Invoke, checkpoint: Path, tmp_path: Path
) -> None:
    run = ("run", "--score", "network", "-o", "dataset.limit=40")
    use = (*run, "-o", "score.checkpoint=net")
    refused(invoke(*run), 2, "'checkpoint'")
    refused(invoke(*run, "-o", "score.checkpoint=none"), 4, "'none'")
    refused(invoke(*use, "--dataset", "shapes"), 2, "shape (1, 8, 8)", "--dataset digits")
    refused(invoke(*use, "--schedule", "flow"), 2, "'cosine'")
    refused(invoke(*use, "--labels", "3"), 2, "without classes")
    weights = checkpoint / "weights.safetensors"
    whole = load_file(weights)
    save_file({**whole, "down.bias": whole["down.bias"] * float("nan")}, weights)
    refused(invoke(*use), 4, "NaN or infinity")
    weights.write_bytes(weights.read_bytes()[:-9])
    refused(invoke(*use), 4, "truncated")
    weights.unlink()
    refused(invoke(*use), 4, "weights.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net"]


def test_a_note_tells_of_other_data_than_trained_on(invoke: Invoke, checkpoint: Path) -> None:
    arguments = ("run", "--score", "network", "-o", f"score.checkpoint={checkpoint}", "--steps", 2, "--samples", 1)
    result = done(invoke(*arguments))
    assert "40 images of 'digits'" in result.stderr
    assert "Note" not in done(invoke(*arguments, "-o", "dataset.limit=40")).stderr


def test_calibrate_writes_a_file_that_run_reads_and_prints_json(invoke: Invoke, checkpoint: Path) -> None:
    arguments = ("calibrate", "--checkpoint", checkpoint, "--samples", 3, "--steps", 4, "--score", "ls")
    actual = json.loads(done(invoke(*arguments, "--out", "s.nc", "--json", "--sizes", "3,7")).stdout)
    with xr.open_dataset("s.nc") as stored:
        assert actual["scales"] == stored["scale"].values[::-1].tolist()
        assert set(actual["scales"]) <= {3, 7}
        assert actual["noise_to_signal"] == sorted(actual["noise_to_signal"])
    result = done(invoke("run", "--score", "ls", "--scales", "s.nc", "--steps", 4, "--samples", 1, "--out", "r.nc"))
    assert result.stdout == "r.nc\n"
    with xr.open_dataset("r.nc") as run:
        assert run["scale"].values[::-1].tolist() == actual["scales"]
    refused(invoke(*arguments, "--out", "s.nc"), 2, "exists already")
    assert done(invoke(*arguments, "--sizes", "3,7", "--out", "s.nc", "--resume")).stdout == "s.nc\n"
    refused(invoke(*arguments, "--out", "t.nc", "--sizes", "4"), 2, "Scale 4")
    refused(invoke(*arguments[:-1], "is", "--out", "t.nc"), 2, "'is' has no locality scale")
    refused(invoke("calibrate", "--out", "t.nc"), 2, "'checkpoint'")
    refused(invoke("calibrate", "--checkpoint", "nowhere", "--out", "t.nc"), 4, "no checkpoint folder")


def test_compare_prints_a_table_and_writes_values_and_pictures(invoke: Invoke, tmp_path: Path) -> None:
    few = ("-o", "dataset.limit=30", "--steps", 3, "--scales", "3")
    for score, more in (("els", ("--samples", 4)), ("ls", ("--init", "els.nc")), ("is", ("--init", "els.nc"))):
        done(invoke("run", "--score", score, *few, *more, "--out", f"{score}.nc"))
    table = done(invoke("compare", "els.nc", "ls.nc", "--baseline", "is.nc")).stdout.splitlines()
    assert table[0].split()[-6:] == ["els", "ls", "is", "els", "-", "is"]
    assert [line.split()[0] for line in table[1:]] == [
        "pearson_r", "r2", "R2", "cosine", "mse", "nearest_train", "memorized"
    ]  # fmt: skip
    with xr.open_dataset("comparison-001.nc") as stored:
        assert f"{float(stored['pearson_r_median'][0]):.3f}" in table[1]
    assert drawn(tmp_path / "comparison-001.png")
    assert drawn(tmp_path / "comparison-001-agreement.png")
    alone = done(invoke("compare", "els.nc", "ls.nc", "--metrics", "mse,pearson_r", "--out", "c.nc")).stdout
    assert "is" not in alone.split("\n")[0].split()
    wider = ("--metrics", "local_consistency, mse", "-o", "local_consistency.k=5")
    assert "local_consistency" in done(invoke("compare", "els.nc", "ls.nc", *wider, "--out", "d.nc")).stdout
    refused(invoke("compare", "els.nc", "ls.nc", "--out", "c.nc"), 2, "exists already")
    refused(invoke("compare", "els.nc", "ls.nc", "--metrics", "mze"), 3, "no metric 'mze'", "'mse'")
    refused(invoke("compare", "els.nc", "ls.nc", "-o", "mse.k=3"), 2, "has no option 'k'")
    refused(invoke("compare", "els.nc", "no.nc"), 4, "no.nc")


def test_compare_states_what_chance_gives(invoke: Invoke) -> None:
    few = ("--dataset", "pairs", "-o", "dataset.count=12", "--steps", 2, "--scales", "3")
    done(invoke("run", *few, "--samples", 3, "--out", "els.nc"))
    done(invoke("run", *few, "--init", "els.nc", "--score", "is", "--out", "is.nc"))
    consistency = ("--metrics", "consistency")
    table = done(invoke("compare", "is.nc", "els.nc", *consistency)).stdout
    assert "consistency (share; 0.333 by chance)" in table
    actual = json.loads(done(invoke("compare", "is.nc", "els.nc", *consistency, "--json")).stdout)
    assert actual["metrics"]["consistency"]["chance"] == pytest.approx(1 / 3)


def test_compare_refuses_runs_from_other_noise(invoke: Invoke, tmp_path: Path) -> None:
    few = ("-o", "dataset.limit=30", "--steps", 2, "--samples", 2, "--scales", "3")
    done(invoke("run", *few, "--out", "a.nc"))
    done(invoke("run", *few, "--out", "b.nc", "--seed", 1))
    refused(invoke("compare", "a.nc", "b.nc"), 2, "did not start from the run's noise", "--init")
    assert not (tmp_path / "comparison-001.nc").exists()


def test_a_run_can_be_compared_with_itself_but_not_replaced_by_it(invoke: Invoke) -> None:
    done(invoke("run", "-o", "dataset.limit=30", "--steps", 2, "--samples", 2, "--scales", "3", "--out", "a.nc"))
    done(invoke("compare", "a.nc", "a.nc", "--baseline", "a.nc", "--out", "same.nc"))
    refused(invoke("compare", "a.nc", "a.nc", "--out", "a.nc", "--overwrite"), 2, "is one of the runs to compare")
    mosaic.open("a.nc").close()
    refused(invoke("compare", "a.nc", "."), 4, "is a folder, not a stored run")


def test_numbers_that_json_cannot_say_are_null(invoke: Invoke) -> None:
    flat = ("--dataset", "black-white", "--score", "is", "--steps", 2, "--samples", 2)
    done(invoke("run", *flat, "--out", "a.nc"))
    result = done(invoke("compare", "a.nc", "a.nc", "--json", "--metrics", "pearson_r,mse"))
    actual = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    assert actual["metrics"]["pearson_r"]["run"]["median"] is None
    assert actual["metrics"]["mse"]["run"]["median"] == 0


def test_runs_on_different_data_are_noted(invoke: Invoke) -> None:
    few = ("run", "--steps", 2, "--scales", "3")
    done(invoke(*few, "-o", "dataset.limit=30", "--samples", 2, "--out", "a.nc"))
    done(invoke(*few, "-o", "dataset.limit=20", "--init", "a.nc", "--out", "b.nc"))
    assert "different training sets" in done(invoke("compare", "a.nc", "b.nc")).stderr


def test_a_run_of_a_data_set_object_is_compared_without_it(invoke: Invoke, tiny: mosaic.DataSet) -> None:
    mosaic.run("els", tiny, samples=2, steps=2, scales="3", out="a.nc").close()
    result = done(invoke("compare", "a.nc", "a.nc"))
    assert "nearest_train, memorized" in result.stderr


def test_resuming_what_was_not_started_leaves_pictures_alone(invoke: Invoke, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("mine")
    refused(invoke("run", "--out", "a.nc", "--resume", "--steps", 2), 2, "'a.png' exists already")
    refused(invoke("calibrate", "--checkpoint", checkpoint, "--out", "a.nc", "--resume"), 2, "'a.png' exists already")
    assert (tmp_path / "a.png").read_text() == "mine"


def test_training_again_with_nothing_left_says_so(invoke: Invoke, checkpoint: Path) -> None:
    assert "Nothing was left to do" in done(invoke("train", "--resume", "--out", checkpoint)).stderr
    assert "required" in invoke("calibrate", "--help").stdout
    (checkpoint / "weights.safetensors").unlink()
    assert json.loads(done(invoke("inspect", "--json", checkpoint)).stdout)["progress"] is None


def test_compare_leaves_out_what_needs_data_that_are_gone(invoke: Invoke, tiny_file: Path) -> None:
    data = ("--dataset", "file", "-o", f"dataset.path={tiny_file}", "--scales", "3", "--steps", 2)
    done(invoke("run", *data, "--samples", 2, "--out", "a.nc"))
    done(invoke("run", "--score", "ls", *data, "--init", "a.nc", "--out", "b.nc"))
    tiny_file.unlink()
    result = done(invoke("compare", "a.nc", "b.nc"))
    assert "nearest_train, memorized" in result.stderr
    assert "nearest_train" not in result.stdout


def test_inspect_tells_what_is_in_checkpoints_calibrations_and_comparisons(invoke: Invoke, checkpoint: Path) -> None:
    actual = json.loads(done(invoke("inspect", "--json", checkpoint)).stdout)
    assert (actual["configuration"]["network"], actual["receptive_field"], actual["progress"]["step"]) == (
        "resnet",
        7,
        2,
    )
    done(invoke("calibrate", "--checkpoint", checkpoint, "--samples", 1, "--steps", 2, "--sizes", "3,5"))
    actual = json.loads(done(invoke("inspect", "--json", "scales.nc")).stdout)
    assert (actual["ks"], actual["configuration"]["checkpoint"]) == ([3, 5], "net")
    for name in ("a", "b"):
        done(invoke("run", "-o", "dataset.limit=30", "--steps", 2, "--samples", 2, "--out", f"{name}.nc"))
    done(invoke("compare", "a.nc", "b.nc"))
    actual = json.loads(done(invoke("inspect", "--json", "comparison-001.nc")).stdout)
    assert actual["runs"]["run"]["title"] == "els on digits: reverse flow"
    assert json.loads(done(invoke("inspect", "--json", "net/loss.nc")).stdout)["dimensions"] == {"step": 2}
    assert "progress:" in done(invoke("inspect", "net")).stdout
