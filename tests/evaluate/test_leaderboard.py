"""The leaderboard: what it measures, who takes part, and that it is resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import Result

import mosaic
from mosaic.evaluate.leaderboard.board import prepare_leaderboard
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.run.settings import layered
from mosaic.storage.job import ConfigMismatch
from mosaic.view.leaderboard import ranked

Invoke = Callable[..., Result]
SETTINGS = {"scores": "els,gaussian", "samples": 2, "steps": 3, "network_steps": 7, "scales": "3"}
FLAGS = ("--samples", 2, "--steps", 3, "--network-steps", 7, "--scales", 3)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranking") / "net"
    options = {"channels": 4, "blocks": 1, "padding": "circular"}
    mosaic.train("resnet", "digits", out=folder, epochs=2, dataset_options={"limit": 40}, network_options=options)
    return folder


@pytest.fixture(scope="module")
def board(network: Path) -> Path:
    """A folder with a leaderboard in it."""
    out = network.parent / "board"
    mosaic.leaderboard(network, out=out, **SETTINGS)
    return out


def test_final_images_are_compared_as_mosaic_compare_does(board: Path) -> None:
    with xr.open_dataset(board / "leaderboard.nc") as actual:
        assert actual["score"].values.tolist() == ["network", "els", "gaussian"]
        for score in ("els", "gaussian"):
            runs = mosaic.open(board / f"{score}.nc"), mosaic.open(board / "network.nc")
            metrics = ["pearson_r", "r2", "R2", "mse"]
            compared = mosaic.compare(*runs, metrics=metrics)
            for metric in metrics:
                one = actual.sel(score=score)
                np.testing.assert_array_equal(one[f"final_{metric}"], compared[metric][0])
                for end in ("median", "low", "high"):
                    assert float(one[f"final_{metric}_{end}"]) == float(compared[f"{metric}_{end}"][0])


def test_single_steps_are_evaluated_at_the_networks_own_states(board: Path) -> None:
    source = mosaic.registry().get("dataset", "digits")
    dataset = source(source.Options(limit=40)).load()
    kind = mosaic.registry().get("score", "els")
    machine = kind(kind.Options(boundary="circular"), dataset)  # as the network's padding
    pearson = mosaic.registry().get("metric", "pearson_r")()
    with xr.open_dataset(board / "leaderboard.nc") as actual, mosaic.open(board / "network.nc") as run:
        assert actual["step"].values.tolist() == [0, 3, 6]
        assert run.sizes["step"] == 7
        for place, step in enumerate((0, 3, 6)):
            level = mosaic.Level(float(run["signal"][step]), float(run["noise"][step]))
            x, own = (torch.from_numpy(run[name].values[:, step]) for name in ("state", "denoised"))
            expected = pearson(machine.denoise(x, level, None, 3), own).numpy()
            np.testing.assert_allclose(actual["step_pearson_r"].sel(score="els")[place], expected, rtol=1e-6)
        np.testing.assert_allclose(actual["along_pearson_r"], actual["step_pearson_r"].median("step"))
        assert actual["step_mse"].sel(score="network").isnull().all()  # it agrees with itself
        best = str(actual["final_pearson_r_median"].idxmax("score").item())
        behind = actual["final_pearson_r"].sel(score=best) - actual["final_pearson_r"]
        np.testing.assert_allclose(actual["behind_median"], behind.median("sample"))
        assert float(actual["behind_high"].sel(score=best)) == 0
        assert (actual["seconds"] > 0).all()
        assert (actual["peak_bytes"] > 2**26).all()
        assert (board / "leaderboard.png").stat().st_size > 10_000
        assert ranked(actual) == sorted(
            ["els", "gaussian"], key=lambda s: -float(actual.final_pearson_r_median.sel(score=s))
        )


def test_what_is_done_is_kept_and_what_is_not_is_gone_on_with(board: Path, network: Path) -> None:
    with xr.open_dataset(board / "leaderboard.nc") as stored:
        before = stored.load()
    kept = {
        path: path.stat().st_mtime_ns for path in board.glob("*.nc") if path.stem not in ("leaderboard", "els-steps")
    }
    (board / "els-steps.nc").unlink()
    seen: list[str] = []
    actual = mosaic.leaderboard(
        network, out=board, progress=lambda done, total, unit, note: seen.append(note), **SETTINGS
    )
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert set(seen) == {"els", "comparing"}
    xr.testing.assert_equal(*(one.drop_vars(["seconds", "seconds_per_step", "peak_bytes"]) for one in (actual, before)))


def test_other_settings_are_refused(board: Path, invoke: Invoke, network: Path) -> None:
    result = invoke("leaderboard", "--checkpoint", network, "--scores", "els", "--out", board, *FLAGS[:-1], 5)
    assert result.exit_code == 2
    assert "facts.scales" in result.stderr


def test_what_was_changed_in_place_is_noticed(network: Path, tmp_path: Path) -> None:
    own = tmp_path / "net"
    shutil.copytree(network, own)
    scales = tmp_path / "scales.json"
    scales.write_text('{"scales": [3, 5], "noise_to_signal": [0.1, 1.0]}')
    settings = {**SETTINGS, "scores": "els", "scales": str(scales)}
    mosaic.leaderboard(own, out=tmp_path / "board", **settings)
    scales.write_text('{"scales": [3, 7], "noise_to_signal": [0.1, 1.0]}')
    with pytest.raises(ConfigMismatch, match=r"facts\.scales"):
        mosaic.leaderboard(own, out=tmp_path / "board", **settings)
    scales.write_text('{"scales": [3, 5], "noise_to_signal": [0.1, 1.0]}')
    mosaic.leaderboard(own, out=tmp_path / "board", **settings)
    options = {"channels": 4, "blocks": 1, "padding": "circular"}
    mosaic.train(
        "resnet", "digits", out=own, overwrite=True, epochs=3, dataset_options={"limit": 40}, network_options=options
    )
    with pytest.raises(ConfigMismatch, match=r"facts\.checkpoint"):
        mosaic.leaderboard(own, out=tmp_path / "board", **settings)


def test_a_run_that_was_started_otherwise_is_refused_before_anything_is_done(network: Path, tmp_path: Path) -> None:
    mosaic.leaderboard(network, out=tmp_path, **{**SETTINGS, "scores": "gaussian"})
    data = {"dataset_options": {"limit": 40}}
    mosaic.run("els", "digits", out=tmp_path / "els.nc", **data, samples=3, steps=3, scales="3")
    for scores in ("els", "smoothed,els"):
        with pytest.raises(ConfigMismatch, match="samples: 3, now 2"):
            mosaic.leaderboard(network, out=tmp_path, **{**SETTINGS, "scores": scores})
    assert not (tmp_path / "smoothed.nc").exists()


def test_options_may_be_texts_as_on_the_command_line(network: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "scores": "gaussian", "dataset_options": {"limit": "30"}}
    mosaic.leaderboard(network, out=tmp_path, **settings)
    (tmp_path / "gaussian-steps.nc").unlink()
    mosaic.leaderboard(network, out=tmp_path, **settings)
    assert (tmp_path / "gaussian-steps.nc").exists()


def test_what_other_code_made_is_told(
    board: Path, invoke: Invoke, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.leaderboard(network, out=board, **SETTINGS)
    given = ("leaderboard", "--checkpoint", network, "--out", board, *FLAGS, "--scores", "els,gaussian", "--dry-run")
    assert "other code" not in invoke(*given).stderr
    monkeypatch.setattr("mosaic.storage.made_by.core_digest", lambda: "another")
    assert "network, els, gaussian: " in invoke(*given).stderr
    kept = (board / "els-steps.nc").read_bytes()
    (board / "els-steps.nc").unlink()  # its run is used again
    assert "network, els, gaussian: " in invoke(*given).stderr
    (board / "els-steps.nc").write_bytes(kept)


def test_a_list_of_scales_serves_the_theories_and_is_looked_up_along_the_flow(network: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "scores": "els", "scales": "3,5,7"}
    mosaic.leaderboard(network, out=tmp_path / "list", **settings)
    with mosaic.open(tmp_path / "list" / "els.nc") as run:
        assert run["scale"].values.tolist() == [7, 5, 3]
    settings["scales"] = str(tmp_path / "list" / "els.nc")
    mosaic.leaderboard(network, out=tmp_path / "file", **settings)
    actual = [xr.load_dataset(tmp_path / name / "els-steps.nc")["denoised"] for name in ("list", "file")]
    np.testing.assert_array_equal(*actual)
    assert not np.array_equal(actual[0], xr.load_dataset(network.parent / "board" / "els-steps.nc")["denoised"])


def test_a_run_that_is_gone_is_made_again(board: Path, network: Path) -> None:
    (board / "els.nc").unlink()
    mosaic.leaderboard(network, out=board, **SETTINGS)
    assert (board / "els.nc").exists()


def test_the_command_prints_the_best_first_and_what_failed(board: Path, invoke: Invoke, network: Path) -> None:
    given = ("--checkpoint", network, "--out", board, *FLAGS)
    scores = ("--scores", "gaussian,els,switch", "-o", "switch.below=network")
    result = invoke("leaderboard", *given, *scores)
    assert result.exit_code == 0, result.stderr
    assert "Dimensions" not in invoke("inspect", board / "leaderboard.nc").stderr
    fewer = invoke("leaderboard", *given, "--scores", "els", "--dry-run")
    assert "will no longer rank gaussian, switch" in fewer.stderr
    lines = [line.split()[0] for line in result.stdout.splitlines()]
    with xr.open_dataset(board / "leaderboard.nc") as stored:
        assert lines[1:3] == ranked(stored)[:2]
        assert np.isnan(float(stored["final_pearson_r_median"].sel(score="switch")))
        assert "checkpoint" in json.loads(stored.attrs["failed"])["switch"]
    assert lines[3:] == ["switch", "network", str(board / "leaderboard.nc")]
    assert "score.below_options" in result.stderr


def test_all_take_part_that_need_no_options(network: Path, tmp_path: Path) -> None:
    board = prepare_leaderboard(layered(LeaderboardConfig, {"checkpoint": str(network)}), tmp_path, mosaic.DataAccess())
    assert next(iter(board.entries)) == "network"
    assert {*board.entries, "diffusers"} == set(mosaic.registry().names("score"))
    assert board.left_out == {"diffusers": "it needs `diffusers.pipeline=VALUE`"}
    assert board.entries["ls"].run.score_options == {"boundary": "circular"}
    assert board.entries["switch"].run.score_options == {"boundary": "circular"}
    assert board.entries["is"].run.scales is None
    forecast = board.forecast()
    assert (forecast["els"] or 0) > 0
    assert forecast["gaussian"] is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scores": "elss"}, "There is no score 'elss'"),
        ({"score_options": {"elss": {}}}, "There is no score 'elss'"),
        ({"samples": 0}, "samples"),
        ({"scores": "network"}, "names no theory"),
        ({"scores": "els,diffusers"}, "score.diffusers needs the option 'pipeline'"),
        ({"scores": "els", "score_options": {"smoothed": {"sigma": 1}}}, "a score model that"),
        ({"score_options": {"smoothed": {"sigma": -1}}}, "score.smoothed: option 'sigma'"),
        ({"score_options": {"els": {"boundry": "zeros"}}}, "has no option 'boundry'"),
        ({"scales": "4"}, "4"),
        ({"scales": "paper/typo"}, "paper/typo"),
        ({"scales": "3,3,5", "steps": 4}, "lists 3 scales for 4 steps"),
    ],
)
def test_what_cannot_be_ranked_is_refused(network: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(mosaic.MosaicError, match=message):
        prepare_leaderboard(
            layered(LeaderboardConfig, {"checkpoint": str(network), **settings}), Path("out"), mosaic.DataAccess()
        )
