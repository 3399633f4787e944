"""The leaderboard: what is done is kept, what is missing is made, and what was made otherwise is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import Result
from command_results import refused
from small_leaderboard import FLAGS, SETTINGS

import mosaic
from mosaic.storage.job import ConfigMismatch
from mosaic.view.leaderboard import ranked

Invoke = Callable[..., Result]
# Every score model works in a process of its own.
pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quick_processes")]


def test_what_is_done_is_kept_and_what_is_missing_is_made(board: Path, network: Path) -> None:
    with xr.open_dataset(board / "leaderboard.nc") as stored:
        before = stored.load()
    kept = {
        path: path.stat().st_mtime_ns for path in board.glob("*.nc") if path.stem not in ("leaderboard", "els-steps")
    }
    (board / "els-steps.nc").unlink()
    left = board / "gaussian.nc.parts"  # by a kill after the file was written
    left.mkdir()
    (left / "part-00000.nc").write_text("")
    seen: list[str] = []
    actual = mosaic.leaderboard(
        network, out=board, progress=lambda done, total, unit, note: seen.append(note), **SETTINGS
    )
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert set(seen) == {"els"}
    assert not left.exists()
    xr.testing.assert_equal(
        *(table.drop_vars(["seconds", "seconds_per_step", "peak_bytes"]) for table in (actual, before))
    )


def test_other_settings_are_refused(board: Path, invoke: Invoke, network: Path) -> None:
    result = invoke("leaderboard", "--checkpoint", network, "--scores", "els", "--out", board, *FLAGS[:-1], 5)
    assert result.exit_code == 2
    assert "facts.scales" in result.stderr


def test_a_run_that_was_started_otherwise_is_refused_before_anything_is_done(network: Path, tmp_path: Path) -> None:
    with pytest.warns(mosaic.MosaicWarning, match="`scales`"):  # which no theory here has
        mosaic.leaderboard(network, out=tmp_path, **{**SETTINGS, "scores": "gaussian"})
    data = {"dataset_options": {"limit": 40}}
    mosaic.run("els", "digits", out=tmp_path / "els.nc", **data, samples=3, steps=3, scales="3")
    for scores in ("els", "smoothed,els"):
        with pytest.raises(ConfigMismatch, match="samples: 3, now 2"):
            mosaic.leaderboard(network, out=tmp_path, **{**SETTINGS, "scores": scores})
    assert not (tmp_path / "smoothed.nc").exists()


def test_options_may_be_texts_as_on_the_command_line(network: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "scores": "gaussian", "scales": None, "dataset_options": {"limit": "30"}}
    with pytest.warns(mosaic.MosaicWarning, match=r"^network: .*trained on 40 images"):
        mosaic.leaderboard(network, out=tmp_path, **settings)
    (tmp_path / "gaussian-steps.nc").unlink()
    mosaic.leaderboard(network, out=tmp_path, **settings)
    assert (tmp_path / "gaussian-steps.nc").exists()


def test_entries_that_other_code_made_are_named(
    board: Path, invoke: Invoke, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("leaderboard", "--checkpoint", network, "--out", board, *FLAGS, "--scores", "els,gaussian", "--dry-run")
    assert "network, els, gaussian: " not in invoke(*given).stderr
    monkeypatch.setattr("mosaic.storage.made_by.core_digest", lambda: "another")
    assert "network, els, gaussian: " in invoke(*given).stderr
    (board / "els-steps.nc").unlink()  # its run is used again
    assert "network, els, gaussian: " in invoke(*given).stderr


@pytest.mark.parametrize("name", ["network", "els", "els-steps", "leaderboard"])
def test_a_damaged_file_is_refused_with_the_way_out(board: Path, network: Path, name: str) -> None:
    path = board / f"{name}.nc"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(mosaic.DataError, match=rf"{name}\.nc'.*Remove it") as caught:
        mosaic.leaderboard(network, out=board, progress=False, **SETTINGS)
    assert str(caught.value).count("Remove it") == 1
    assert "`" not in str(caught.value)  # there is no setting to replace it


def test_a_run_that_was_removed_is_made_again(board: Path, network: Path) -> None:
    (board / "els.nc").unlink()
    mosaic.leaderboard(network, out=board, **SETTINGS)
    assert (board / "els.nc").exists()


def test_the_command_prints_the_best_first_and_what_failed(board: Path, invoke: Invoke, network: Path) -> None:
    given = ("--checkpoint", network, "--out", board, *FLAGS)
    scores = ("--scores", "gaussian,els,switch", "-o", "switch.checkpoint=nowhere")
    result = invoke("leaderboard", *given, *scores)
    assert result.exit_code == 0, result.stderr
    assert "Dimensions" not in invoke("inspect", board / "leaderboard.nc").stderr
    fewer = invoke("leaderboard", *given, "--scores", "els", "--dry-run")
    assert "gaussian, switch" in fewer.stderr
    lines = [line.split()[0] for line in result.stdout.splitlines()]
    with xr.open_dataset(board / "leaderboard.nc") as stored:
        assert lines[1:3] == ranked(stored)[:2]
        assert np.isnan(float(stored["final_pearson_r_median"].sel(score="switch")))
        assert "nowhere" in json.loads(stored.attrs["failed"])["switch"]
    assert lines[3:] == ["switch", "network", str(board / "leaderboard.nc")]
    assert "nowhere" in result.stderr


def test_where_nothing_can_be_ranked_the_command_fails(board: Path, invoke: Invoke, network: Path) -> None:
    before = (board / "leaderboard.nc").read_bytes()
    options = ("--scores", "switch", "-o", "switch.checkpoint=nowhere")
    result = invoke("leaderboard", "--checkpoint", network, "--out", board, *FLAGS, *options)
    refused(result, 1, "switch", "nowhere")
    assert (board / "leaderboard.nc").read_bytes() == before


@pytest.mark.parametrize("name", ["leaderboard.nc", "leaderboard.png"])
def test_a_file_that_appears_meanwhile_is_not_replaced(board: Path, network: Path, name: str) -> None:
    for made in ("leaderboard.nc", "leaderboard.png", "els-steps.nc"):
        (board / made).unlink()
    settings: dict[str, Any] = {**SETTINGS, "out": board}

    def write(done: float, total: float, unit: str, note: str = "") -> None:
        (board / name).write_text("theirs")

    with pytest.raises(mosaic.UsageError, match=re.escape(name)):
        mosaic.leaderboard(network, progress=write, **settings)
    assert (board / name).read_text() == "theirs"
    assert len(list(board.glob("leaderboard.*"))) == 1
    (board / name).unlink()
    mosaic.leaderboard(network, progress=False, **settings)


def test_progress_counts_steps_of_the_network_and_weighted_comparisons_of_theories(
    network: Path, tmp_path: Path
) -> None:
    reports: list[tuple[str, float, float]] = []
    mosaic.leaderboard(
        network,
        out=tmp_path,
        progress=lambda done, total, unit, note: reports.append((unit, done, total)),
        **{**SETTINGS, "scores": "els"},
    )
    # 40 images, all 64 x 64 pairs of windows of an 8 x 8 image (circular), k = 3, 2 samples; 3 steps, and 3 along. The
    # network is evaluated along its own flow, and then along that of els.
    expected = [("step", 2 * (7 + 3)), ("weighted comparison", 40 * 64**2 * 3 * 2 * (3 + 3)), ("step", 2 * 3)]
    pieces = [(key, list(piece)) for key, piece in groupby(reports, key=lambda report: (report[0], report[2]))]
    assert [key for key, _ in pieces] == [(unit, pytest.approx(total)) for unit, total in expected]
    for _, piece in pieces:
        shares = [done / total for _, done, total in piece]
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1)
        assert len(set(shares)) > 3
