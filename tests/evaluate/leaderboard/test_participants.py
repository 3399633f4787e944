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
    needed = {
        "diffusers": "pipeline",
        "filtered": "window",
        "patch-posterior-flex": "checkpoint",
        "switch": "checkpoint",
    }
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
        ({"scores": "els,is", "scales": {"ls": "3"}}, "'ls'"),
        ({"scores": "els,is", "scales": {"elss": "3"}}, r"'elss'.* els"),
        ({"scores": "els,is", "scales": {"is": "3"}}, "'is'"),
        ({"scores": "els,is", "scales": {"network": "3"}}, "'network'"),
        ({"scales": {"els": "4"}}, r"'els'.* 4 "),
        *(({"scales": scales}, "'scales'") for scales in ({"els": {"ls": "3"}}, {"els": None}, {}, 3j)),
    ],
)
def test_what_cannot_be_ranked_is_refused(network: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(mosaic.MosaicError, match=message):
        prepare_leaderboard(
            layered(LeaderboardConfig, {"checkpoint": str(network), **settings}), Path("out"), mosaic.DataAccess()
        )


def test_scales_by_name_are_those_of_their_theory_and_the_others_share_theirs(network: Path, tmp_path: Path) -> None:
    table = mosaic.ScaleSchedule((2.0, 4.0), (0.1, 10.0))
    settings = {"scores": "els,ls,soft-els,is", "scales": {"els": [3, 3, 5], "soft-els": table, "*": 7}, "steps": 3}
    config = layered(LeaderboardConfig, {"checkpoint": str(network), **settings})
    entries = prepare_leaderboard(config, tmp_path, mosaic.DataAccess()).entries
    assert {name: entry.run.scales for name, entry in entries.items()} == {
        "network": None,
        "els": "3,3,5",
        "ls": "7",
        "soft-els": '{"scales": [2, 4], "noise_to_signal": [0.1, 10.0]}',
        "is": None,
    }
    facts = {name: entry.along[0].facts["scales"] for name, entry in entries.items()}
    assert (facts["els"], facts["ls"], facts["is"]) == ([3, 3, 5], [7, 7, 7], None)
    low, middle, high = facts["soft-els"]  # interpolated between the table's entries, where els would take one of them
    assert 2 < low < middle < high == 4


def test_theories_that_the_names_leave_out_have_default_scales(network: Path, tmp_path: Path) -> None:
    config = layered(LeaderboardConfig, {"checkpoint": str(network), "scores": "els,ls", "scales": {"els": "5"}})
    entries = prepare_leaderboard(config, tmp_path, mosaic.DataAccess()).entries
    assert (entries["els"].run.scales, entries["ls"].run.scales) == ("5", None)
    assert prepare_leaderboard(config, tmp_path, mosaic.DataAccess()).config.scales == {"els": "5"}


def test_objects_keep_scales_of_their_own_and_take_those_by_name_otherwise(network: Path, tmp_path: Path) -> None:
    data = mosaic.score(network).model.dataset
    theories = {"mine": mosaic.score("els", data, scales="3"), "yours": mosaic.score("els", data)}

    def entries_for(scales: dict[str, str]) -> dict[str, str | None]:
        config = layered(LeaderboardConfig, {"checkpoint": str(network), "scores": "none", "scales": scales})
        board = prepare_leaderboard(config, tmp_path, mosaic.DataAccess(), theories=theories)
        return {name: entry.run.scales for name, entry in board.entries.items()}

    assert entries_for({"*": "5"}) == {"network": None, "mine": "3", "yours": "5"}
    assert entries_for({"yours": "7", "*": "5"}) == {"network": None, "mine": "3", "yours": "7"}
    with pytest.raises(mosaic.UsageError, match="'mine'"):
        entries_for({"mine": "5"})
