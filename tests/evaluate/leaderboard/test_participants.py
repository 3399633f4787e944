"""Who takes part in a leaderboard."""

from __future__ import annotations

from pathlib import Path

import pytest

import mosaic
from mosaic.evaluate.leaderboard.board import prepare_leaderboard
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.run.settings import layered


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
