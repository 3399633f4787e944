"""Bad input, whichever part notices it: a sentence, the right exit code, and nothing written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from command_results import refused
from PIL import Image

import mosaic

Invoke = Callable[..., Result]


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if "run" in path.name or path.suffix in (".parts", ".tmp")}


@pytest.mark.parametrize(
    ("arguments", "code", "values"),
    [
        (["--score", "elz"], 3, ["'elz'", "'els'"]),
        (["--dataset", "digit"], 3, ["'digit'", "'digits'"]),
        (["--schedule", "cosin"], 3, ["'cosin'", "'cosine'"]),
        (["--sampler", "dddim"], 3, ["'dddim'", "'ddim'", "ddpm"]),
        (["-o", "sampler.etta=1"], 2, ["'etta'", "'eta'"]),
        (["-o", "sampler.rho=5"], 2, ["sampler.ddim", "rho=5.0"]),
        (["-o", "score.boundry=zeros"], 2, ["'boundry'", "'boundary'"]),
        (["-o", "score.boundary=zero"], 2, ["'zero'", "'zeros'", "'circular'", "'valid'"]),
        (["-o", "scor.boundary=zeros"], 2, ["'scor'", "'score'"]),
        (["-o", "boundry=zeros"], 2, ["'boundry'", "'boundary'", "score.boundary"]),
        (["-o", "boundary"], 2, ["'boundary'", "KIND.OPTION=VALUE"]),
        (["-o", "dataset.limit=0"], 2, ["'limit'", "'0'"]),
        (["--scales", "4"], 2, ["4"]),
        (["--scales", "0"], 2, ["0"]),
        (["--scales", "3,5,7"], 2, ["--scales", "3", "20"]),
        (["--scales", "paper/mnist"], 2, ["paper/mnist"]),
        (["--scales", "9", "-o", "score.boundary=valid"], 2, ["9", "8 x 8", "'valid'"]),
        (["--steps", "0"], 2, ["'steps'", "'0'"]),
        (["--steps", "many"], 2, ["'steps'", "'many'"]),
        (["--samples", "0"], 2, ["'samples'", "'0'"]),
        (["--batch-size", "-1"], 2, ["'batch_size'", "'-1'"]),
        (["--labels", "10"], 2, ["--labels", "10", "0, 1, 2"]),
        (["--labels", "-2"], 2, ["--labels", "-2"]),
        (["--labels", "one"], 2, ["'one'"]),
        (["--labels", "1,2"], 2, ["--labels", "2", "4"]),
        (["--device", "quantum"], 2, ["'quantum'"]),
        (["--dtype", "float16"], 2, ["'float16'"]),
        (["--init", "none.nc"], 2, ["'none.nc'"]),
        (["--out", "nowhere/run.nc"], 2, ["'nowhere'"]),
        (["--out", "run.txt"], 2, ["'run.txt'", ".nc"]),
        (["--resume"], 2, ["--resume", "--out"]),
        (["--resume", "--overwrite", "--out", "a.nc"], 2, ["--resume", "--overwrite"]),
        (["--config", "none.toml"], 2, ["'none.toml'"]),
        (["--dataset", "mnist", "--data-dir", "."], 4, ["train-images-idx3-ubyte", "--download"]),
        (["--dataset", "cifar10", "--data-dir", "."], 4, ["data_batch_1", "--download"]),
        (["--dataset", "folder"], 2, ["'path'"]),
        (["--dataset", "folder", "-o", "dataset.path=nowhere"], 4, ["'nowhere'"]),
        (["--dataset", "file", "-o", "dataset.path=none.npz"], 4, ["'none.npz'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_bad_run_argument(invoke: Invoke, tmp_path: Path, arguments: list[str], code: int, values: list[str]) -> None:
    refused(invoke("run", *arguments), code, *values)
    assert written(tmp_path) == set()


def test_a_truncated_idx_file(invoke: Invoke, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, 10, 28, 28) + bytes(7000))
    (raw / "train-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, 10) + bytes(10))
    result = invoke("run", "--dataset", "mnist", "--data-dir", tmp_path)
    refused(result, 4, "train-images-idx3-ubyte", "7016", "7856")


def save(path: Path, **arrays: Any) -> list[Any]:
    np.savez(path, **arrays)
    return ["run", "--dataset", "file", "-o", f"dataset.path={path}"]


def test_files_whose_arrays_cannot_be_used(invoke: Invoke, tmp_path: Path) -> None:
    good = np.zeros((3, 4, 4), np.float32)
    bad = good.copy()
    bad[1, 2, 3] = np.nan
    refused(invoke(*save(tmp_path / "a.npz", pictures=good)), 4, "'images'", "pictures")
    refused(invoke(*save(tmp_path / "b.npz", images=bad)), 4, "1", "NaN")
    refused(invoke(*save(tmp_path / "c.npz", images=good + 7)), 4, "[7, 7]", "dataset.range")
    refused(invoke(*save(tmp_path / "d.npz", images=good, labels=np.array([0, 1]))), 4, "labels", "3", "(2,)")
    (tmp_path / "e.npz").write_bytes(b"PK no archive")
    refused(invoke("run", "--dataset", "file", "-o", f"dataset.path={tmp_path / 'e.npz'}"), 4, "e.npz")


def test_images_of_mixed_sizes_in_a_folder(invoke: Invoke, tmp_path: Path) -> None:
    for name, size in (("one", (5, 4)), ("two", (6, 4))):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("L", size).save(tmp_path / "set" / name / "a.png")
    refused(invoke("run", "--dataset", "folder", "-o", f"dataset.path={tmp_path / 'set'}"), 4, "5 x 4", "6 x 4")


def test_init_of_the_wrong_shape_or_kind(invoke: Invoke, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 1, 8, 9), np.float32))
    np.save(tmp_path / "flat.npy", np.zeros((2, 64), np.float32))
    np.save(tmp_path / "good.npy", np.zeros((2, 1, 8, 8), np.float32))
    refused(invoke("run", "--init", "wide.npy"), 2, "(1, 8, 9)", "(1, 8, 8)")
    refused(invoke("run", "--init", "flat.npy"), 2, "(2, 64)")
    refused(invoke("run", "--init", "good.npy", "--samples", "3"), 2, "'good.npy'", "2", "--samples 3")


def test_an_existing_output_of_any_part_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    for name in ("a.nc", "a.png"):
        (tmp_path / name).write_text("mine")
        refused(invoke("run", "--out", "a.nc"), 2, f"'{name}'", "--overwrite")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "a.nc.parts").mkdir()
    refused(invoke("run", "--out", "a.nc"), 2, "'a.nc.parts'", "--resume")


def test_an_output_that_cannot_be_written(invoke: Invoke) -> None:
    refused(invoke("run", "--out", "/proc/run.nc"), 2, "'/proc/run.nc'")


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [
        (("plot", "a.nc"), ".png"),
        (("report", "a.nc"), ".html"),
        (("compare", "a.nc", "a.nc"), ".nc"),
        (("leaderboard", "--checkpoint", "net"), ""),
        (("reproduce", "fig3", "--dry-run"), ""),
    ],
)
def test_an_output_whose_name_is_too_long(
    invoke: Invoke, tiny: mosaic.DataSet, arguments: tuple[str, ...], ending: str
) -> None:
    mosaic.run("els", tiny, steps=1, samples=1, scales="3", out="a.nc").close()
    refused(invoke(*arguments, "--out", "x" * 300 + ending), 2, str(300 + len(ending)))


@pytest.mark.parametrize("command", ["plot", "inspect", "report"])
def test_what_is_not_a_file_of_mosaic_is_refused(invoke: Invoke, tmp_path: Path, command: str) -> None:
    (tmp_path / "a.nc").write_text("text")
    refused(invoke(command, "a.nc"), 4, "'a.nc'")
    refused(invoke(command, "b.nc"), 4, "'b.nc'")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]
