"""Who takes part in a leaderboard."""

from __future__ import annotations

from pathlib import Path

import pytest

import mosaic
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.prepare import prepare_leaderboard
from mosaic.run.settings import layered


def test_all_take_part_that_need_no_options(network: Path, tmp_path: Path) -> None:
    board = prepare_leaderboard(layered(LeaderboardConfig, {"checkpoint": str(network)}), tmp_path, mosaic.DataAccess())
    assert next(iter(board.entries)) == "network"
    needed = {"diffusers": "pipeline", "patch-posterior-flex": "checkpoint", "switch": "checkpoint"}
    assert {*board.entries, *needed} == set(mosaic.registry().names("score"))
    assert board.left_out == {name: f"it needs `{name}.{option}=VALUE`" for name, option in needed.items()}
    assert board.entries["ls"].run.score_options == {"boundary": "circular"}
    assert board.entries["is"].run.scales is None
    assert list(board.metrics) == mosaic.registry().agreement_metrics()
    forecast = board.forecast(board.plan_unfinished())
    assert (forecast["els"] or 0) > 0
    assert forecast["gaussian"] is None


def test_all_run_with_the_options_of_ddim_that_are_given(network: Path, tmp_path: Path) -> None:
    settings = {"checkpoint": str(network), "scores": "is", "steps": 5, "sampler_options": {"grid": "leading"}}
    board = prepare_leaderboard(layered(LeaderboardConfig, settings), tmp_path, mosaic.DataAccess())
    assert {entry.run.sampler_options["grid"] for entry in board.entries.values()} == {"leading"}
    with pytest.raises(mosaic.UsageError, match=r"sampler\.ddim.*'gird'"):
        prepare_leaderboard(
            layered(LeaderboardConfig, {**settings, "sampler_options": {"gird": "leading"}}),
            tmp_path,
            mosaic.DataAccess(),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scores": "elss"}, "'elss'"),
        ({"score_options": {"elss": {}}}, "'elss'"),
        ({"samples": 0}, "samples"),
        ({"scores": "network"}, "'network'"),
        ({"scores": "switch"}, r"score\.switch.*'checkpoint'"),
        ({"scores": "els,diffusers"}, r"score\.diffusers .*'pipeline'"),
        ({"scores": "els", "score_options": {"smoothed": {"sigma": 1}}}, "'smoothed'"),
        ({"score_options": {"smoothed": {"sigma": -1}}}, r"score\.smoothed.*'sigma'"),
        ({"score_options": {"els": {"boundry": "zeros"}}}, "'boundry'"),
        ({"scales": "4"}, "4"),
        ({"scales": "paper/typo"}, "paper/typo"),
        ({"scales": "3,3,5", "steps": 4}, r"3 .*4"),
    ],
)
def test_what_cannot_be_ranked_is_refused(network: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(mosaic.MosaicError, match=message):
        prepare_leaderboard(
            layered(LeaderboardConfig, {"checkpoint": str(network), **settings}), Path("out"), mosaic.DataAccess()
        )
