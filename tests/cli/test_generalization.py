"""`mosaic generalization`: a table, a document, a file and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import Result
from command_results import done, notes, refused

import mosaic

Invoke = Callable[..., Result]
FEW = ("-o", "dataset.limit=40", "--held-out", "skip=40", "--samples", 6, "--times", "0.1,0.8")


def test_a_row_for_each_score_and_time_then_those_of_references(invoke: Invoke, tmp_path: Path) -> None:
    lines = done(invoke("generalization", "els", "is", *FEW, "--scales", 3)).stdout.splitlines()
    expected = [(name, t) for name in ("els", "is", "x / a", "mean image") for t in ("0.10", "0.80")]
    assert [line.split(f" {t} ")[0].strip() for line, (_, t) in zip(lines[1:], expected, strict=True)] == [
        name for name, _ in expected
    ]
    with xr.open_dataset("generalization-001.nc") as stored:
        gap = stored["gap"].sel(score="els", time=0.1)
        assert f"{float(gap):.3g} [" in lines[1]
        assert f"{float(stored['loss_mean'].sel(score='is', set='held_out', time=0.8)):.3g} [" in lines[4]
    assert (tmp_path / "generalization-001.png").exists()
    assert "LEFT OUT" not in lines[0]


def test_json_holds_means_and_gaps(invoke: Invoke) -> None:
    given = ("generalization", "is", "gaussian", *FEW, "--leave-one-out", "--out", "g.nc")
    document = json.loads(done(invoke(*given, "--json")).stdout)
    assert (document["path"], document["picture"], document["times"]) == ("g.nc", "g.png", [0.1, 0.8])
    assert document["scores"]["is"].keys() == {"scales", "training", "held_out", "left_out", "gap"}
    assert document["scores"]["gaussian"].keys() == {"scales", "training", "held_out", "gap"}
    with xr.open_dataset("g.nc") as stored:
        np.testing.assert_allclose(document["scores"]["is"]["gap"]["low"], stored["gap_low"].sel(score="is"))
        np.testing.assert_allclose(
            document["references"]["x / a"]["held_out"], stored["reference_loss_mean"].values[0, 1]
        )
    refused(invoke(*given), 2, "'g.nc'", "--overwrite")
    done(invoke(*given, "--overwrite"))
    before = Path("g.nc").stat().st_mtime_ns
    again = json.loads(done(invoke(*given, "--resume", "--json")).stdout)
    assert again == document
    assert Path("g.nc").stat().st_mtime_ns == before
    assert done(invoke("plot", "g.nc")).stdout == "g-losses.png\n"
    inspected = json.loads(done(invoke("inspect", "g.nc", "--json")).stdout)
    assert inspected["configuration"]["held_out_options"]["skip"] == 40


def test_an_interrupt_says_how_to_resume(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.evaluate.generalization.plan.BATCH", 2)
    denoise, calls = mosaic.registry().get("score", "is").denoise, []

    def interrupted(self: mosaic.ScoreModel, x: torch.Tensor, *arguments: object) -> torch.Tensor:
        calls.append(len(x))
        if len(calls) == 4:
            raise KeyboardInterrupt
        result: torch.Tensor = denoise(self, x, *arguments)
        return result

    with monkeypatch.context() as patched:
        patched.setattr(mosaic.registry().get("score", "is"), "denoise", interrupted, raising=False)
        stopped = invoke("generalization", "is", *FEW, "--out", "g.nc")
    assert stopped.exit_code == 130
    assert "--resume" in stopped.stderr
    done(invoke("generalization", "is", *FEW, "--out", "g.nc", "--resume"))
    done(invoke("generalization", "is", *FEW, "--out", "whole.nc"))
    with xr.open_dataset("g.nc") as resumed, xr.open_dataset("whole.nc") as whole:
        np.testing.assert_array_equal(resumed["loss"], whole["loss"])


def test_a_network_is_the_first_score_and_its_images_the_training_set(invoke: Invoke, checkpoint: Path) -> None:
    document = json.loads(done(invoke("generalization", "is", "--checkpoint", checkpoint, *FEW[2:], "--json")).stdout)
    assert list(document["scores"]) == ["network", "is"]
    assert max(document["scores"]["is"]["training"]["mean"][:1]) < 1e-3
    few = done(invoke("generalization", "--checkpoint", checkpoint, *FEW[2:4], "--times", 0.5))
    assert any("40" in note for note in notes(few))


def test_files_hold_the_images_held_out(invoke: Invoke, tiny_file: Path, tiny: mosaic.DataSet) -> None:
    assert tiny.labels is not None
    np.savez("other.npz", images=tiny.images[:, 0].flip(2).numpy(), labels=tiny.labels.numpy())
    given = ("generalization", "is", "--dataset", "file", "-o", f"dataset.path={tiny_file}", "--samples", 3)
    done(invoke(*given, "--held-out", "dataset.path=other.npz"))
    refused(invoke(*given, "--held-out", "limit=5"), 2, "5", "--held-out")


@pytest.mark.parametrize(
    ("given", "code", "value"),
    [
        (FEW, 2, "--checkpoint"),
        (("is",), 2, "--held-out"),
        (("is", *FEW, "--resume"), 2, "--out"),
        (("is", *FEW, "--times", "a"), 2, "'a'"),
        (("is", *FEW, "--held-out", "slip=3"), 2, "'slip'"),
        (("is", *FEW, "--held-out", "3"), 2, "'3'"),
        (("is", *FEW[2:]), 2, "--held-out"),  # all digits are training images
        (("els", *FEW, "--out", "p.txt"), 2, ".nc"),
    ],
)
def test_what_cannot_be_used_is_refused(invoke: Invoke, given: tuple[object, ...], code: int, value: str) -> None:
    refused(invoke("generalization", *given), code, value)
