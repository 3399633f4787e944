"""Options that are chosen by the networks on noise that the board does not use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_leaderboard import SETTINGS

import mosaic
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.prepare import prepare_leaderboard
from mosaic.evaluate.leaderboard.tuned import how_tuned, origin_of, parameters_of
from mosaic.evaluate.leaderboard.tuning import tuning_config
from mosaic.run.settings import layered

TUNED: dict[str, Any] = {
    "scores": "pca-locality,is",
    "samples": 4,
    "steps": 3,
    "network_steps": 3,
    "tune": {"pca-locality": {"threshold": [0.005, 0.3, 0.9], "batch": [12, 4]}},
    "tuning_samples": 3,
    "metrics": "mse",
    "score_options": {"pca-locality": {"average": "batches"}},
}


@pytest.fixture
def stand_in(tiny: mosaic.DataSet) -> mosaic.Score:
    """A theory that stands in for a network, so that the best options are known."""
    return mosaic.score("pca-locality", tiny, threshold=0.3, average="batches", batch=4)


def test_the_options_that_made_the_network_are_found(
    stand_in: mosaic.Score, tiny: mosaic.DataSet, tmp_path: Path
) -> None:
    table = mosaic.leaderboard(stand_in, out=tmp_path, progress=False, **TUNED)
    best = "pca-locality.threshold=0.3 pca-locality.batch=4"
    assert table["candidate"].values[table["chosen"].values].tolist() == [best]
    assert table.sizes["candidate"] == 6
    assert table["candidate_score"].values.tolist() == ["pca-locality"] * 6
    assert float(table["tuning_mse_median"].sel(candidate=best)) < 1e-10
    assert float(table["tuning_mse_median"].drop_sel(candidate=best).min()) > 1e-8
    assert float(table["final_mse_median"].sel(score="pca-locality")) < 1e-10
    assert table["tuned"].sel(score=["pca-locality", "is"]).values.tolist() == [
        "tuned threshold batch",
        "no parameters",
    ]
    run = mosaic.open(tmp_path / "pca-locality.nc")
    options = {"threshold": 0.3, "average": "batches", "batch": 4}
    expected = mosaic.run("pca-locality", tiny, steps=3, samples=4, score_options=options)
    np.testing.assert_array_equal(run["image"], expected["image"])
    assert set(table["tuning_seed"].values).isdisjoint(table["seed"].values)
    seen: list[str] = []
    fewer = {**TUNED, "tune": {"pca-locality": {"threshold": [0.9, 0.3], "batch": [4, 12]}}}
    mosaic.leaderboard(stand_in, out=tmp_path, progress=lambda *report: seen.append(report[-1]), **fewer)
    assert seen == []  # candidates are known by their options, and used again
    assert len(list((tmp_path / "tuning").glob("pca-locality-*.nc"))) == 6
    without = {name: value for name, value in TUNED.items() if not name.startswith("tun")}
    with pytest.raises(mosaic.UsageError, match="threshold"):
        mosaic.leaderboard(stand_in, out=tmp_path, progress=False, **without)


def test_a_theory_whose_candidates_fail_has_no_numbers(stand_in: mosaic.Score, tmp_path: Path) -> None:
    tune = {"switch": {"checkpoint": ["nowhere", "lost"]}}
    with pytest.warns(mosaic.MosaicWarning) as warned:
        table = mosaic.leaderboard(
            stand_in,
            out=tmp_path,
            progress=False,
            **{**TUNED, "scores": "is,switch", "score_options": {}, "tune": tune},
        )
    messages = [str(warning.message) for warning in warned]
    assert [message.partition(" failed")[0] for message in messages] == [
        "switch.checkpoint=nowhere",
        "switch.checkpoint=lost",
        "switch",
    ]
    assert "'nowhere'" in messages[-1]
    assert table["final_mse"].sel(score="switch").isnull().all()
    assert not table["chosen"].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tune": {"els": {"engine": ["torch", "compiled"]}}}, "'els'"),
        ({"tune": {"elss": {"boundary": ["a", "b"]}}}, "'elss'"),
        ({"tune": {"pca-locality": {"treshold": [1, 2]}}}, "'treshold'"),
        ({"tune": {"pca-locality": {"threshold": [0.1, 7]}}}, "'threshold'"),
        ({"tune": {"pca-locality": {"threshold": [0.1]}}}, r"0\.1"),
        ({"tune": {"pca-locality": {"threshold": [0.1, 0.1]}}}, r"0\.1"),
        ({"tune": {"pca-locality": {"average": ["exact", "batches"]}}}, r"pca-locality\.average"),
        ({"tune": "threshold=1,2"}, "SCORE.OPTION"),
        ({"tune": ["is.a=1,2", "is.a=3,4"]}, r"is\.a"),
        ({"seed": 3, "tuning_seed": 3}, "tuning_seed"),
        ({"tune": {}}, "tuning_samples"),
        ({"given": "els"}, "'els'"),
    ],
)
def test_what_cannot_be_chosen_is_refused(
    stand_in: mosaic.Score, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(mosaic.MosaicError, match=message):
        mosaic.leaderboard(stand_in, out=tmp_path / "board", progress=False, **{**TUNED, **settings})
    assert not (tmp_path / "board").exists()


def test_texts_and_mappings_say_the_same() -> None:
    mapping = {"golden-subset": {"low": ["0.1", "0.2"], "high": ["0.3", "0.4"]}, "is": {"a.b": ["1"]}}
    texts = ["golden-subset.low=0.1,0.2", "golden-subset.high=0.3, 0.4"]
    read = LeaderboardConfig(checkpoint="net", tune=texts).tune
    assert read == {"golden-subset": mapping["golden-subset"]}
    assert LeaderboardConfig(checkpoint="net", tune=texts[0]).tune == {"golden-subset": {"low": ["0.1", "0.2"]}}
    assert LeaderboardConfig(checkpoint="net", tune=mapping).tune == mapping


def test_options_are_chosen_on_random_labels_where_the_boards_are_a_list() -> None:
    tune = "pca-locality.threshold=.1,.2"
    listed = LeaderboardConfig(checkpoint="net", labels="0,1", samples=2, seed=4, tune=tune, tuning_samples=3)
    other = tuning_config(listed)
    assert (other.labels, other.samples, other.seed) == ("random", 3, 5)
    assert tuning_config(listed.model_copy(update={"labels": "none"})).labels == "none"


def test_the_rows_say_how_parameters_were_chosen(network: Path, tmp_path: Path) -> None:
    trained, files = network, {}
    for name, seed in (("els", 1), ("soft-els", 0)):
        files[name] = str(tmp_path / f"{name}.nc")
        calibrated = {"sizes": "3,5", "samples": 2, "steps": 2, "seed": seed, "progress": False}
        mosaic.calibrate(trained, name, out=files[name], **calibrated)
    settings = {
        **{**SETTINGS, "scores": "els,ls,soft-els,filtered,is,smoothed,pca-locality,gaussian,patch-posterior"},
        "scales": {"soft-els": files["soft-els"], "patch-posterior": "3", "*": files["els"]},
        "score_options": {
            "filtered": {"window": "soft", "temperature": 0.9},
            "smoothed": {"sigma": 1, "neighbours": 9},
        },
        "tune": {"pca-locality": {"threshold": [0.1, 0.2]}},
    }
    config = layered(LeaderboardConfig, {"checkpoint": str(trained), **settings})
    theories = {"own": mosaic.score(lambda x, t: x, mosaic.score(trained).model.dataset)}
    board = prepare_leaderboard(config, tmp_path / "board", mosaic.DataAccess(), theories=theories)
    chosen = "chosen on networks of MNIST and FashionMNIST"  # border_limit is not used: the network is circular
    assert board.tuned == {
        "els": "calibrated",
        "ls": "scales of els",
        "soft-els": f"calibrated on this noise, temperature {chosen}, rest untuned",
        "filtered": "scales of els, set by hand, rest untuned",
        "is": "no parameters",
        "smoothed": "set by hand",
        "pca-locality": "tuned threshold",
        "gaussian": "no parameters",
        "patch-posterior": "untuned",
        "own": "not known",
    }
    (note,) = [note for note in board.notes({}) if "noise" in note]
    assert note.startswith("soft-els:")


def test_parameters_are_numbers_and_not_seeds_or_counts_of_draws() -> None:
    named = {
        name: parameters_of(mosaic.registry().get("score", name).Options) for name in mosaic.registry().names("score")
    }
    assert named["pca-locality"] == ["threshold"]
    assert named["golden-subset"] == ["threshold", "low", "high", "proxy"]
    assert named["smoothed"] == ["sigma", "neighbours"]
    assert named["gaussian-mixture"] == ["components"]
    assert named["soft-els"] == ["cutoff", "border", "border_limit", "temperature"]
    assert [named[name] for name in ("is", "els", "gaussian", "patch-posterior")] == [[]] * 4


def test_scales_of_something_else_than_a_calibration_are_untuned(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    mosaic.run("els", tiny, steps=2, samples=1, scales="3", out=tmp_path / "run.nc").close()
    assert [origin_of(scales) for scales in (None, "3", "paper/mnist-resnet-zeros", "x.json", "lost.nc")] == [None] * 5
    assert origin_of(str(tmp_path / "run.nc")) is None
    says = {"parameters": ["a", "b"], "has_scale": True, "origin": None, "seeds": [], "defaults": {}}
    assert how_tuned("els", by_hand=[], chosen=[], **says) == "untuned"
    assert how_tuned("els", by_hand=["b"], chosen=["a"], **says) == "tuned a, set by hand, rest untuned"
    assert how_tuned("els", by_hand=["b"], chosen=["a"], **{**says, "has_scale": False}) == "tuned a, set by hand"


def test_defaults_that_were_chosen_somewhere_say_where() -> None:
    parameters, defaults = ["a", "b", "c"], {"a": "X", "b": "Y", "c": "X"}
    says = {"parameters": parameters, "has_scale": False, "origin": None, "seeds": [], "defaults": defaults}
    assert how_tuned("els", by_hand=[], chosen=[], **says) == "a c chosen on X, b chosen on Y"
    assert how_tuned("els", by_hand=["c"], chosen=["b"], **says) == "tuned b, set by hand, a chosen on X"
    says["parameters"] = [*parameters, "d"]
    assert how_tuned("els", by_hand=["b"], chosen=["a", "c"], **says) == "tuned a c, set by hand, rest untuned"
