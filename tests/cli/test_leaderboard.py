"""`mosaic leaderboard`: its settings, table and document; tests/evaluate/test_leaderboard.py ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from command_results import done, refused

from mosaic_cli.leaderboard import _document, _findings, _print

Invoke = Callable[..., Result]


@pytest.fixture
def board() -> xr.Dataset:
    """A leaderboard of two theories, a score model that failed, and the network."""
    nan = float("nan")
    values = {
        "final_pearson_r": ([0.5, 0.75, nan, nan], 0.125),
        "final_mse": ([0.25, 0.125, nan, nan], 0.0625),
        "along_pearson_r": ([0.625, 0.875, nan, nan], 0.125),
        "along_mse": ([0.5, 0.0625, nan, nan], 0.0625),
        "own_pearson_r": ([0.375, 0.5, nan, nan], 0.125),
        "behind": ([0.25, 0.0, nan, nan], 0.125),
    }
    ends = {"median": 0, "low": -1, "high": 1}
    variables = {
        f"{name}_{end}": ("score", np.array(medians) + sign * width)
        for name, (medians, width) in values.items()
        for end, sign in ends.items()
    }
    variables["seconds_per_step"] = ("score", np.array([0.5, 0.02, nan, 0.001]))
    variables["peak_bytes"] = ("score", np.array([3, 2, nan, 1]) * 2**20)
    samples = {"final_pearson_r": (("score", "sample"), np.full((4, 5), nan))}
    steps = {"step_mse": (("score", "step"), np.zeros((4, 3)))}
    variables["tuned"] = ("score", ["no parameters", "calibrated", "untuned", ""])
    attributes = {"failed": json.dumps({"switch": "no checkpoint"}), "metrics": json.dumps(["pearson_r", "mse"])}
    attributes["best"] = json.dumps({"even": "els", "odd": "is"})
    return xr.Dataset({**samples, **variables, **steps}, {"score": ["is", "els", "switch", "network"]}, attributes)


def test_the_table_has_the_best_first_failures_after_it_and_the_network_last(
    board: xr.Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    _print(board)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["SCORE", "FINAL", "pearson_r"]
    assert [line.split()[0] for line in lines] == ["els", "is", "switch", "network"]
    cells = [cell.strip() for cell in lines[0].split("  ") if cell.strip()]
    assert cells[:4] == ["els", "0.750 [0.625, 0.875]", "0.000 [-0.125, 0.125]", "0.125"]
    assert cells[4:] == ["0.875", "0.500", "0.02", "2", "calibrated"]
    assert "[" not in lines[2]
    assert lines[3].split() == ["network", "0.001", "1"]
    board.attrs["best"] = json.dumps({"even": "els", "odd": "els"})
    _print(board)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[4] for line in lines[:2]] == ["reference", "0.250"]


def test_the_last_row_says_how_another_training_predicts_the_network_and_what_theories_add(
    board: xr.Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    board["partial_pearson_r_median"] = ("score", [0.25, np.nan, np.nan, 0.625])
    for name in ("final_pearson_r", "behind", "along_pearson_r", "own_pearson_r", "final_mse"):
        for end in ("median", "low", "high"):
            board[f"{name}_{end}"][3] = 0.9375
    _print(board)
    header, els, *_, last = capsys.readouterr().out.splitlines()
    assert "ADDS" in header.split()
    assert last.startswith("another training")
    assert last.split()[2:] == [*["0.938", "[0.938,", "0.938]"] * 2, *["0.938"] * 3, "0.625", "0.001", "1"]
    assert els.split()[-4:] == ["0.500", "0.02", "2", "calibrated"]  # ELS adds nothing to itself
    assert max(map(len, (header, els, last))) <= 130


def test_what_failed_what_was_chosen_and_halves_that_differ_are_said(board: xr.Dataset) -> None:
    board.attrs["best"] = json.dumps({"even": "els", "odd": "els"})
    (failed,) = _findings(board)
    assert "switch failed: no checkpoint" in failed
    board.attrs |= {"failed": "{}", "best": json.dumps({"even": "els", "odd": "is"})}
    board = board.assign_coords(candidate=["a.x=1", "a.x=2"]).assign(chosen=("candidate", [False, True]))
    chosen, halves = _findings(board)
    assert "a.x=2" in chosen
    assert "a.x=1" not in chosen
    assert "els is best on the even samples, is on the odd" in halves
    assert "els on the odd samples, is on the even" in halves  # where they have 0


def test_the_document_holds_all_but_the_samples_and_steps_with_null_for_what_is_not_known(board: xr.Dataset) -> None:
    document = json.loads(json.dumps(_document(board), allow_nan=False))
    assert set(document) == {"is", "els", "switch", "network"}
    assert document["els"]["final_pearson_r_median"] == 0.75
    assert document["network"]["final_mse_low"] is None
    assert document["network"]["peak_bytes"] == 2**20
    assert document["els"]["tuned"] == "calibrated"
    assert {"final_pearson_r", "step_mse"}.isdisjoint(document["els"])


def test_a_dry_run_forecasts_and_writes_nothing(invoke: Invoke, checkpoint: Path) -> None:
    given = ("--checkpoint", checkpoint, "--scores", "els,gaussian", "--samples", 2, "--steps", 2, "--scales", 3)
    document = json.loads(done(invoke("leaderboard", *given, "--dry-run", "--json")).stdout)
    assert document["seconds"]["els"] > 0
    assert document["seconds"]["gaussian"] is None
    assert document["left_out"] == {}
    assert not Path("leaderboard").exists()
    refused(invoke("leaderboard", *given, "--scales", "ls=5", "--dry-run"), 2, "--scales names 'ls'")
    refused(invoke("leaderboard", *given, "--tune", "ls.boundary=zeros,circular", "--dry-run"), 2, "--tune names 'ls'")
    refused(invoke("leaderboard", *given, "--tune", "threshold", "--dry-run"), 2, "'threshold'", "SCORE.OPTION")
    refused(invoke("leaderboard", *given, "--checkpoint", checkpoint, "--dry-run"), 2, "the same network")
    given = (*given, "--scores", "els,pca-locality", "--tune", "pca-locality.threshold=.01,.1")
    document = json.loads(done(invoke("leaderboard", *given, "--dry-run", "--json")).stdout)
    assert {"pca-locality.threshold=0.01", "pca-locality.threshold=0.1"} <= set(document["seconds"])


@pytest.mark.parametrize(
    ("arguments", "code", "values"),
    [
        ((), 2, ["'checkpoint'"]),
        (("--checkpoint", "nowhere"), 4, ["'nowhere'"]),
        (("--checkpoint", "net", "-o", "elss.boundary=zeros"), 2, ["'elss'", "'els'"]),
        (("--checkpoint", "net", "--samples", "0"), 2, ["'samples'", "'0'"]),
        (("--checkpoint", "net", "--config", "name.toml"), 2, ["[els]"]),
        (("--checkpoint", "net", "--config", "kind.toml"), 2, ["'kind.toml'", "'machine'"]),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    invoke: Invoke, arguments: tuple[str, ...], code: int, values: list[str]
) -> None:
    Path("name.toml").write_text("[els]\nname = 'ls'\n")
    Path("kind.toml").write_text("[machine]\nboundary = 'zeros'\n")
    refused(invoke("leaderboard", *arguments), code, *values)
    assert not Path("leaderboard").exists()


def test_unknown_score_models_and_options_are_refused(invoke: Invoke, checkpoint: Path) -> None:
    given = ("leaderboard", "--checkpoint", checkpoint)
    refused(invoke(*given, "--scores", "elss"), 3, "'elss'", "'els'")
    refused(invoke(*given, "-o", "els.boundry=zeros"), 2, "'boundry'", "'boundary'")
    refused(invoke(*given, "-o", "boundary=zeros"), 2, "els.boundary", "ls.boundary")
    refused(invoke(*given, "--scores", "els,is", "-o", "boundary=zero"), 2, "'boundary'", "'zero'")
    assert not Path("leaderboard").exists()
