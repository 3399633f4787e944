"""Configuration: layers and their precedence, TOML, and options as a user types them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.run.config import RunConfig
from mosaic.run.settings import from_environment, from_file, layered, plugin_options, with_owners


def test_flags_go_before_the_file_before_the_environment_before_defaults(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("steps = 30\nseed = 3\n[score]\nboundary = 'circular'\n")
    environment = from_environment(
        RunConfig, {"MOSAIC_STEPS": "40", "MOSAIC_SEED": "4", "MOSAIC_SAMPLES": "9", "MOSAIC_DATA": "x"}
    )
    config = layered(RunConfig, environment, from_file(tmp_path / "run.toml", RunConfig), {"steps": "50"})
    assert (config.steps, config.seed, config.samples, config.batch_size) == (50, 3, 9, 8)
    assert config.score_options == {"boundary": "circular"}


def test_options_of_plugins_come_from_the_environment_too() -> None:
    config = layered(
        RunConfig,
        from_environment(RunConfig, {"MOSAIC_OPTIONS": "score.boundary=valid dataset.limit=9"}),
        {"dataset": "digits"},
    )
    assert config.score_options == {"boundary": "valid"}
    assert config.dataset_options == {"limit": "9"}


def test_a_table_may_name_its_plugin_and_options_merge_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        "scales = [3, 5]\nlabels = 4\n[dataset]\nname = 'mnist'\nlimit = 100\nlimit_seed = 2\n"
    )
    config = layered(RunConfig, from_file(tmp_path / "run.toml", RunConfig), {"dataset_options": {"limit": "7"}})
    assert (config.dataset, config.scales, config.labels) == ("mnist", "3,5", "4")
    assert config.dataset_options == {"limit": "7", "limit_seed": 2}


def test_naming_another_plugin_drops_the_options_of_the_one_before() -> None:
    config = layered(RunConfig, {"score": "els", "score_options": {"boundary": "valid"}}, {"score": "is"})
    assert config.score_options == {}
    assert layered(RunConfig, {"score_options": {"boundary": "valid"}}, {"score": "is"}).score_options == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step = 3", "'step'.*'steps'"),
        ("steps = ", r"run\.toml"),
        ("[scor]\na = 1", "'score'"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(mosaic.UsageError, match=message):
        from_file(tmp_path / "run.toml", RunConfig)


def test_a_file_may_start_with_a_mark_of_byte_order(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbfsteps = 7\n")
    assert from_file(tmp_path / "c.toml", RunConfig) == {"steps": 7}
    (tmp_path / "c.toml").write_bytes("steps = 7".encode("utf-16"))
    with pytest.raises(mosaic.UsageError, match=r"c\.toml"):
        from_file(tmp_path / "c.toml", RunConfig)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_file_may_be_a_pipe_but_no_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("steps = 7",))
    writer.start()
    assert from_file(tmp_path / "pipe", RunConfig) == {"steps": 7}
    writer.join()
    with pytest.raises(mosaic.UsageError, match="folder"):
        from_file(tmp_path, RunConfig)


@pytest.mark.parametrize(
    "text", [f"steps = {'1' * 5000}", f"[dataset]\nlimit = {'1' * 5000}", "[score\n", "a = " + "[" * 3000]
)
def test_a_file_that_cannot_be_parsed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(mosaic.UsageError, match=r"c\.toml"):
        from_file(tmp_path / "c.toml", RunConfig)


@pytest.mark.parametrize(
    "bad",
    [
        {"score_options": "boundary=zeros"},
        {"score_options": None},
        {"scales": {}},
        {"scales": object()},
        {"scales": 10**5000},
        {"labels": []},
        {"labels": [[0], [1]]},
        {"labels": ""},
        {"steps": 10**5000},
        {"steps": "1" * 5000},
        {"steps": [3]},
    ],
)
def test_a_value_that_a_setting_does_not_take_is_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError, match=next(iter(bad))) as caught:
        layered(RunConfig, bad)
    assert len(str(caught.value)) < 400


def test_lists_of_any_kind_and_numbers_become_text() -> None:
    column = xr.DataArray([0, 1], dims="sample", name="label")
    for value in ([0, 1], (0.0, np.float32(1)), range(2), np.arange(2.0), torch.arange(2), column, column.to_series()):
        assert layered(RunConfig, {"labels": value}).labels == "0,1"
    for value in (5, 5.0, np.int64(5), torch.tensor(5), Path("5"), column[1] + 4):
        assert layered(RunConfig, {"scales": value}).scales == "5"


@pytest.mark.parametrize("value", [torch.float64, np.float64, np.dtype("float64"), float, "float64"])
def test_a_precision_may_be_a_type(value: Any) -> None:
    assert layered(RunConfig, {"dtype": value}).dtype == "float64"


@pytest.mark.parametrize("value", [torch.int64, np.int32, int, dict, None, 64])
def test_a_type_that_is_not_computed_in_is_refused(value: Any) -> None:
    with pytest.raises(mosaic.UsageError, match="'dtype'"):
        layered(RunConfig, {"dtype": value})


def test_a_device_may_be_one_of_torch() -> None:
    assert layered(RunConfig, {"device": torch.device("cuda", 1)}).device == "cuda:1"
    with pytest.raises(mosaic.UsageError, match="'device'"):
        layered(RunConfig, {"device": object()})


def test_options_of_a_plugin_that_the_configuration_does_not_name() -> None:
    with pytest.raises(mosaic.UsageError, match="'score'"):
        layered(LeaderboardConfig, {"checkpoint": "net"}, {"score": "els"})
    config = layered(LeaderboardConfig, {"checkpoint": "net", "score_options": {"els": {"boundary": "zeros"}}})
    assert config.score_options == {"els": {"boundary": "zeros"}}


def test_a_configuration_takes_lists_by_itself() -> None:
    given = {"labels": [0, 1], "scales": np.array([3, 5]), "save": ("entropy",), "save_steps": [0, 2]}
    config = RunConfig(**given)
    assert (config.labels, config.scales, config.save, config.save_steps) == ("0,1", "3,5", "entropy", "0,2")
    assert config == RunConfig.parse(given, "run") == layered(RunConfig, given)
    board = LeaderboardConfig(checkpoint=Path("net"), scores=["els", "is"], metrics=["r2"])
    assert (board.checkpoint, board.scores, board.metrics) == (("net",), "els,is", "r2")
    assert LeaderboardConfig(checkpoint=["a", Path("b")]).checkpoint == ("a", "b")
    with pytest.raises(mosaic.UsageError, match="labels"):
        RunConfig(labels=[])


SECTIONS = ("score", "dataset", "schedule", "sampler")


def asked(*pairs: str, **names: str) -> dict[str, Any]:
    """What flags give."""
    return {**names, **plugin_options(pairs, SECTIONS)}


def test_an_option_without_its_kind_is_that_of_the_one_plugin_that_has_it() -> None:
    config = layered(RunConfig, asked("boundary=zeros", "limit=9", "score.engine=torch", "eta=0.5"))
    assert config.score_options == {"boundary": "zeros", "engine": "torch"}
    assert config.dataset_options == {"limit": "9"}
    assert config.sampler_options == {"eta": "0.5"}


@pytest.mark.parametrize(
    ("layers", "score", "dataset"),
    [
        ([asked("size=9"), asked(dataset="black-white")], {}, {"size": "9"}),  # whoever names the plugin
        ([asked("score.boundary=valid"), asked("boundary=zeros")], {"boundary": "zeros"}, {}),
        ([asked("boundary=zeros"), asked("score.boundary=valid")], {"boundary": "valid"}, {}),
        ([asked("boundary=zeros"), asked("boundary=valid")], {"boundary": "valid"}, {}),
        ([asked("boundary=zeros"), asked(score="ls")], {"boundary": "zeros"}, {}),
        ([asked("boundary=zeros"), asked("score.boundary=valid"), asked(score="ls")], {"boundary": "zeros"}, {}),
    ],
)
def test_options_without_a_kind_are_resolved_after_the_layers(
    layers: list[dict[str, Any]], score: dict[str, Any], dataset: dict[str, Any]
) -> None:
    config = layered(RunConfig, *layers)
    assert (config.score_options, config.dataset_options) == (score, dataset)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (asked("boundry=zeros"), "'boundry'.*'boundary'.*score.boundary"),
        (asked("boundary=zeros", score="is"), "'boundary'.*dataset.limit"),
        (asked("seed=3", score="smoothed", dataset="shapes"), r"score\.seed or dataset\.seed"),
        (asked("boundary=zeros", score="nothing"), "'nothing'"),
    ],
)
def test_an_option_that_none_or_several_have_is_refused(given: dict[str, Any], named: str) -> None:
    with pytest.raises(mosaic.MosaicError, match=named):
        layered(RunConfig, given)


def test_options_of_the_environment_without_a_kind_may_be_meant_for_other_commands() -> None:
    environment = {"MOSAIC_OPTIONS": "boundary=valid limit=9 channels=4"}
    assert layered(RunConfig, from_environment(RunConfig, environment)).score_options == {"boundary": "valid"}
    assert layered(RunConfig, from_environment(RunConfig, environment), {"score": "is"}).score_options == {}
    training = layered(mosaic.TrainConfig, from_environment(mosaic.TrainConfig, environment))
    assert (training.network_options, training.dataset_options) == ({"channels": "4"}, {"limit": "9"})
    with pytest.raises(mosaic.UsageError, match="'boundry'"):
        layered(RunConfig, from_environment(RunConfig, {"MOSAIC_OPTIONS": "boundry=valid"}))


def test_options_of_metrics_are_sorted_likewise() -> None:
    metrics = {name: mosaic.registry().get("metric", name).Options for name in ("mse", "local_consistency")}
    assert with_owners(plugin_options(["k=5"], list(metrics)), metrics) == {"local_consistency_options": {"k": "5"}}


def test_an_option_that_is_given_twice_in_a_layer_is_refused() -> None:
    plugins = {"dataset": mosaic.registry().get("dataset", "digits").Options}
    twice = plugin_options(["limit=100", "dataset.limit=50"], ["dataset"])
    with pytest.raises(mosaic.UsageError, match=r"'limit'.*'dataset\.limit'"):
        with_owners(twice, plugins)
    once = plugin_options(["limit=50", "dataset.limit=50"], ["dataset"])
    assert with_owners(once, plugins) == {"dataset_options": {"limit": "50"}}
