"""Bad input: one sentence, the right exit code, and nothing written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from mosaic.run import runner

Invoke = Callable[..., Result]


def check(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in lines[0]


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if "run" in path.name or path.suffix in (".parts", ".tmp")}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--score", "elz"], 3, ["'elz'", "'els'"]),
        (["--dataset", "digit"], 3, ["'digit'", "'digits'"]),
        (["--schedule", "cosin"], 3, ["'cosin'", "'cosine'"]),
        (["--sampler", "dddim"], 2, ["'dddim'", "'ddim' or 'ddpm'"]),
        (["-o", "score.boundry=zeros"], 2, ["'boundry'", "'boundary'"]),
        (["-o", "score.boundary=zero"], 2, ["'zero'", "'zeros', 'circular' or 'valid'"]),
        (["-o", "scor.boundary=zeros"], 2, ["'scor'", "'score'"]),
        (["-o", "boundary"], 2, ["KIND.OPTION=VALUE"]),
        (["-o", "dataset.limit=0"], 2, ["limit", "'0'"]),
        (["--scales", "4"], 2, ["Scale 4", "odd"]),
        (["--scales", "0"], 2, ["Scale 0"]),
        (["--scales", "3,5,7"], 2, ["3 scales for 20 steps"]),
        (["--scales", "paper/mnist"], 2, ["paper/mnist"]),
        (["--scales", "9", "-o", "score.boundary=valid"], 2, ["Scale 9", "8 x 8"]),
        (["--steps", "0"], 2, ["steps", "'0'"]),
        (["--steps", "many"], 2, ["steps", "'many'"]),
        (["--samples", "0"], 2, ["samples"]),
        (["--batch-size", "-1"], 2, ["batch_size"]),
        (["--labels", "10"], 2, ["label 10", "0, 1, 2"]),
        (["--labels", "-2"], 2, ["label -2"]),
        (["--labels", "one"], 2, ["'one'"]),
        (["--labels", "1,2"], 2, ["2 classes for 4 samples"]),
        (["--device", "quantum"], 2, ["'quantum'"]),
        (["--dtype", "float16"], 2, ["float16"]),
        (["--init", "none.nc"], 2, ["none.nc"]),
        (["--out", "nowhere/run.nc"], 2, ["nowhere"]),
        (["--out", "run.txt"], 2, ["run.txt", ".nc"]),
        (["--resume"], 2, ["--out"]),
        (["--resume", "--overwrite", "--out", "a.nc"], 2, ["--resume", "--overwrite"]),
        (["--config", "none.toml"], 2, ["none.toml"]),
        (["--dataset", "mnist", "--data-dir", "."], 4, ["train-images-idx3-ubyte", "--download"]),
        (["--dataset", "cifar10", "--data-dir", "."], 4, ["data_batch_1", "--download"]),
        (["--dataset", "folder"], 2, ["'path'"]),
        (["--dataset", "folder", "-o", "dataset.path=nowhere"], 4, ["nowhere"]),
        (["--dataset", "file", "-o", "dataset.path=none.npz"], 4, ["none.npz"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_bad_run_argument(invoke: Invoke, tmp_path: Path, arguments: list[str], code: int, words: list[str]) -> None:
    check(invoke("run", *arguments), code, *words)
    assert written(tmp_path) == set()


def test_a_truncated_idx_file(invoke: Invoke, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, 10, 28, 28) + bytes(7000))
    (raw / "train-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, 10) + bytes(10))
    check(
        invoke("run", "--dataset", "mnist", "--data-dir", tmp_path),
        4,
        "train-images-idx3-ubyte",
        "7016 bytes",
        "7856",
    )


def save(path: Path, **arrays: Any) -> list[Any]:
    np.savez(path, **arrays)
    return ["run", "--dataset", "file", "-o", f"dataset.path={path}"]


def test_files_whose_arrays_cannot_be_used(invoke: Invoke, tmp_path: Path) -> None:
    good = np.zeros((3, 4, 4), np.float32)
    bad = good.copy()
    bad[1, 2, 3] = np.nan
    check(invoke(*save(tmp_path / "a.npz", pictures=good)), 4, "images", "pictures")
    check(invoke(*save(tmp_path / "b.npz", images=bad)), 4, "NaN")
    check(invoke(*save(tmp_path / "c.npz", images=good + 7)), 4, "[7, 7]", "range")
    check(invoke(*save(tmp_path / "d.npz", images=good, labels=np.array([0, 1]))), 4, "labels")
    (tmp_path / "e.npz").write_bytes(b"PK no archive")
    check(invoke("run", "--dataset", "file", "-o", f"dataset.path={tmp_path / 'e.npz'}"), 4, "e.npz")


def test_images_of_mixed_sizes_in_a_folder(invoke: Invoke, tmp_path: Path) -> None:
    for name, size in (("one", (5, 4)), ("two", (6, 4))):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("L", size).save(tmp_path / "set" / name / "a.png")
    check(invoke("run", "--dataset", "folder", "-o", f"dataset.path={tmp_path / 'set'}"), 4, "5 x 4", "6 x 4")


def test_init_of_the_wrong_shape_or_kind(invoke: Invoke, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 1, 8, 9), np.float32))
    np.save(tmp_path / "flat.npy", np.zeros((2, 64), np.float32))
    np.save(tmp_path / "good.npy", np.zeros((2, 1, 8, 8), np.float32))
    check(invoke("run", "--init", "wide.npy"), 2, "(1, 8, 9)", "(1, 8, 8)")
    check(invoke("run", "--init", "flat.npy"), 2, "(2, 64)")
    check(invoke("run", "--init", "good.npy", "--samples", "3"), 2, "2 samples")


def test_an_existing_output_of_any_part_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    for name in ("a.nc", "a.png"):
        (tmp_path / name).write_text("mine")
        check(invoke("run", "--out", "a.nc"), 2, name, "--overwrite")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "a.nc.parts").mkdir()
    check(invoke("run", "--out", "a.nc"), 2, "--resume")


def test_an_output_that_cannot_be_written(invoke: Invoke) -> None:
    check(invoke("run", "--out", "/proc/run.nc"), 2, "/proc/run.nc")


def test_plot_and_inspect_refuse_what_is_no_run(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("text")
    for command in ("plot", "inspect"):
        check(invoke(command, "a.nc"), 4, "a.nc")
        check(invoke(command, "b.nc"), 4, "b.nc")


def test_unknown_commands_kinds_and_names(invoke: Invoke) -> None:
    result = invoke("rum")
    assert result.exit_code == 2
    assert "'run'" in result.stderr
    check(invoke("list", "scoer"), 2, "'score'")
    check(invoke("show", "score", "elss"), 3, "'els'")
    check(invoke("show", "scre", "els"), 2, "'score'")


def test_a_failure_inside_names_itself_and_shows_where_on_request(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("the cat ate it")

    monkeypatch.setattr(runner, "run_batch", broken)
    result = invoke("run", "-q")
    check(result, 1, "RuntimeError: the cat ate it")
    assert "Traceback" in invoke("run", "-q", "-v", "--overwrite", "--out", "b.nc").stderr
