"""`mosaic run`: what it prints, writes, resumes and promises."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from command_results import done, notes, refused
from netCDF4 import Dataset
from PIL import Image
from safetensors.torch import load_file, save_file

import mosaic
from mosaic.run import estimate
from mosaic.run.plan import Plan
from mosaic.storage import output
from mosaic.storage.parts import PartFiles

Invoke = Callable[..., Result]
SCORE_OPTIONS = "score_options: {'boundary': 'zeros', 'engine': 'auto', 'tolerance': 0.0, 'order': 0}"


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_run_prints_the_path_and_writes_the_run_and_its_picture(invoke: Invoke, tmp_path: Path) -> None:
    for name in ("run-001", "run-002"):
        result = done(invoke("run", "--steps", 3, "--samples", 2))
        assert result.stdout == f"{name}.nc\n"
        assert re.search(rf"\d s\b.*\b{name}\.png", result.stderr)
        with xr.open_dataset(tmp_path / f"{name}.nc") as run:
            assert dict(run.sizes) == {"sample": 2, "step": 3, "channel": 1, "height": 8, "width": 8}
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "run-001.nc",
        "run-001.png",
        "run-002.nc",
        "run-002.png",
    ]


def test_run_agrees_with_the_python_function(invoke: Invoke, tiny_file: Path) -> None:
    arguments = [
        "--dataset",
        "file",
        "-o",
        f"dataset.path={tiny_file}",
        "--labels",
        "0,1,2,0",
        "--scales",
        "5",
    ]
    invoke("run", "--score", "ls", "-o", "boundary=circular", *arguments, "--steps", 4, "--out", "a.nc")
    run = mosaic.run(
        score="ls",
        dataset="file",
        score_options={"boundary": "circular"},
        dataset_options={"path": tiny_file},
        labels=[0, 1, 2, 0],
        scales=5,
        steps=4,
    )
    with mosaic.open("a.nc") as stored:
        for name in ("state", "denoised", "image", "seed", "label", "scale"):
            np.testing.assert_array_equal(stored[name], run[name])


def test_the_document_names_the_files_and_with_dry_run_the_size(invoke: Invoke) -> None:
    document = json.loads(invoke("run", "--json", "--steps", 2, "--out", "a.nc").stdout)
    assert (document["path"], document["picture"], document["samples"]) == ("a.nc", "a.png", 4)
    dry = json.loads(invoke("run", "--json", "--dry-run", "--steps", 2, "--samples", 3).stdout)
    assert dry["shape"] == [3, 2, 1, 8, 8]
    assert dry["comparisons"] == 1797 * 3 * sum(
        {5: (4 * 4 + 4) ** 2, 3: (6 * 6 + 2) ** 2}[k] for k in dry["configuration"]["scales"]
    )


def test_dry_run_writes_nothing(invoke: Invoke, tmp_path: Path) -> None:
    result = done(invoke("run", "--dry-run"))
    printed = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert SCORE_OPTIONS in result.stdout
    assert {"window comparisons", "predicted time", "memory", "trajectory", "engine"} <= set(printed)
    dry = json.loads(invoke("run", "--json", "--dry-run").stdout)
    assert printed["window comparisons"] == f"{dry['comparisons']:.3g}"
    assert printed["trajectory"].startswith("4 x 20 x 1 x 8 x 8 ")
    assert list(tmp_path.iterdir()) == []


def test_dry_run_says_that_sums_may_stop_early(invoke: Invoke) -> None:
    tolerant = ("run", "--dry-run", "-o", "score.tolerance=0.05", "--steps", 2)
    printed = dict(line.split(": ", 1) for line in done(invoke(*tolerant)).stdout.splitlines())
    assert printed["engine"].endswith(", tolerance 0.05")
    assert all("at most" in printed[name] for name in ("window comparisons", "predicted time"))
    assert json.loads(invoke(*tolerant, "--json").stdout)["is_upper_bound"]


def test_verbose_prints_the_resolved_settings(invoke: Invoke) -> None:
    assert SCORE_OPTIONS in invoke("run", "-v", "--steps", 2).stderr.splitlines()


def test_quiet_says_nothing_but_the_path(invoke: Invoke) -> None:
    result = invoke("run", "-q", "--steps", 2)
    assert result.stderr == ""
    assert result.stdout == "run-001.nc\n"


def test_a_long_run_is_advised_a_smaller_training_set(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "predict_seconds", lambda plan: 121.0)
    dry = done(invoke("run", "--dry-run"))
    assert "2 min 1 s" in dry.stdout
    assert "-o dataset.limit=449" in dry.stderr  # a quarter of 1797
    monkeypatch.setattr(estimate, "predict_seconds", lambda plan: 119.0)
    assert "dataset.limit" not in done(invoke("run", "--dry-run")).stderr


def test_only_a_dry_run_measures(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(plan: Plan) -> float:
        raise AssertionError("nobody asked how long it takes")

    monkeypatch.setattr(estimate, "predict_seconds", measured)
    done(invoke("run", "--steps", 2, "--samples", 1))


def test_scales_that_a_score_model_has_no_use_for_are_noted(invoke: Invoke) -> None:
    (note,) = notes(done(invoke("run", "--score", "is", "--scales", "5", "--steps", 2)))
    assert "--scales" in note
    assert not notes(done(invoke("run", "--score", "is", "--steps", 2)))


def test_resume_starts_with_nothing_there_and_ends_with_all_there(invoke: Invoke) -> None:
    for _ in range(2):
        assert done(invoke("run", "--steps", 2, "--out", "a.nc", "--resume")).stdout == "a.nc\n"
    refused(invoke("run", "--steps", 3, "--out", "a.nc", "--resume"), 2, "configuration.steps: 2, now 3")


def test_a_run_of_a_version_with_other_settings_is_not_resumed(invoke: Invoke) -> None:
    done(invoke("run", "--steps", 2, "--out", "a.nc"))
    with Dataset("a.nc", "a") as stored:
        stored.configuration = json.dumps({**json.loads(stored.configuration), "scales_from": "paper"})
    refused(invoke("run", "--resume", "--out", "a.nc"), 2, "scales_from")


def test_an_interrupted_overwrite_resumes_and_is_not_taken_for_the_run_it_replaces(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["--steps", 2, "--batch-size", 1, "--out", "a.nc"]
    invoke("run", *settings, "--seed", 1)
    with monkeypatch.context() as patched:
        patched.setattr("mosaic.storage.parts.PartFiles.finish", interrupt)
        refused(invoke("run", *settings, "--overwrite"), 130, "--out a.nc --resume")
    refused(invoke("run", *settings, "--seed", 1, "--resume"), 2, "configuration.seed: 0, now 1")
    done(invoke("run", *settings, "--resume"))
    with mosaic.open("a.nc") as run:
        assert json.loads(run.attrs["configuration"])["seed"] == 0


def test_two_unnamed_runs_at_once_take_two_names(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter([Path("run-001.nc"), Path("run-002.nc")])
    Path("run-001.nc.parts").mkdir()  # the other run's, made after this one looked for a name
    monkeypatch.setattr(output, "unused_path", lambda folder, name, endings: next(names))
    assert invoke("run", "--steps", 2).stdout == "run-002.nc\n"


def test_resume_takes_the_settings_of_the_run_that_it_resumes(
    invoke: Invoke, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["--score", "ls", "-o", "score.boundary=circular", "--steps", 3, "--labels", "random", "--seed", 3]
    settings += ["--dataset", "file", "-o", f"dataset.path={tiny_file}", "--scales", "3,5,5", "--dtype", "float64"]
    with monkeypatch.context() as patched:
        patched.setattr("mosaic.storage.parts.PartFiles.finish", interrupt)
        assert invoke("run", *settings, "--out", "a.nc").exit_code == 130
    refused(invoke("inspect", "a.nc"), 4, "'a.nc.parts'", "--resume")
    assert invoke("run", "--out", "a.nc", "--resume", "--seed", 4).exit_code == 2
    done(invoke("run", "--out", "a.nc", "--resume"))
    invoke("run", *settings, "--out", "b.nc")
    with mosaic.open("a.nc") as resumed, mosaic.open("b.nc") as whole:
        assert resumed.attrs["configuration"] == whole.attrs["configuration"]
        np.testing.assert_array_equal(resumed["image"], whole["image"])


@pytest.mark.parametrize("command", ["run", "calibrate"])
def test_a_picture_that_appears_meanwhile_is_not_replaced(
    invoke: Invoke, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    few = ("--samples", 1, "--steps", 2, "--out", "a.nc")
    given = (command, *few, *(("--checkpoint", checkpoint, "--sizes", "3,5") if command == "calibrate" else ()))
    finish = PartFiles.finish

    def draw_first(*args: Any) -> None:
        Path("a.png").write_text("theirs")
        finish(*args)

    with monkeypatch.context() as patched:
        patched.setattr(PartFiles, "finish", draw_first)
        refused(invoke(*given), 2, "'a.png'", "'a.nc'", "--resume")
        assert Path("a.png").read_text() == "theirs"
        done(invoke(*given, "--overwrite"))
    Path("a.png").unlink()
    done(invoke(*given, "--resume"))
    done(invoke(*given, "--resume"))  # its own picture, drawn again


def test_a_picture_made_before_an_interrupted_run_resumes_is_not_replaced(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("mosaic.storage.parts.PartFiles.finish", interrupt)
        assert invoke("run", "--steps", 2, "--samples", 1, "--out", "a.nc").exit_code == 130
    Path("a.png").write_text("theirs")
    refused(invoke("run", "--resume", "--out", "a.nc"), 2, "'a.png'")
    Path("a.png").unlink()
    done(invoke("run", "--resume", "--out", "a.nc"))


def test_resuming_what_was_not_started_leaves_pictures_alone(invoke: Invoke, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("mine")
    refused(invoke("run", "--out", "a.nc", "--resume", "--steps", 2), 2, "'a.png'", "--overwrite")
    refused(invoke("calibrate", "--checkpoint", checkpoint, "--out", "a.nc", "--resume"), 2, "'a.png'", "--overwrite")
    assert (tmp_path / "a.png").read_text() == "mine"


def test_other_data_than_the_network_was_trained_on_are_noted(invoke: Invoke, checkpoint: Path) -> None:
    arguments = ("run", "--score", "network", "-o", f"score.checkpoint={checkpoint}", "--steps", 2, "--samples", 1)
    (note,) = notes(done(invoke(*arguments)))
    assert re.search(r"\b40\b.*'digits'", note)
    assert not notes(done(invoke(*arguments, "-o", "dataset.limit=40")))


def test_a_network_that_cannot_be_used_is_refused_before_anything_is_written(
    invoke: Invoke, checkpoint: Path, tmp_path: Path
) -> None:
    run = ("run", "--score", "network", "-o", "dataset.limit=40")
    use = (*run, "-o", "score.checkpoint=net")
    refused(invoke(*run), 2, "'checkpoint'")
    refused(invoke(*run, "-o", "score.checkpoint=none"), 4, "'none'")
    refused(invoke(*use, "--dataset", "shapes"), 2, "(1, 8, 8)", "(3, 32, 32)", "--dataset digits")
    refused(invoke(*use, "--schedule", "flow"), 2, "'cosine'", "'flow'")
    refused(invoke(*use, "--labels", "3"), 2, "'net'", "3", "--labels")
    weights = checkpoint / "weights.safetensors"
    whole = load_file(weights)
    save_file({**whole, "down.bias": whole["down.bias"] * float("nan")}, weights)
    refused(invoke(*use), 4, "'net/weights.safetensors'", "NaN", "down.bias")
    weights.write_bytes(weights.read_bytes()[:-9])
    refused(invoke(*use), 4, "'net/weights.safetensors'")
    weights.unlink()
    refused(invoke(*use), 4, "weights.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net"]
