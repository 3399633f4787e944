"""From settings to a training: defaults, times, refusals."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from small_training import SMALL, train

import mosaic
from mosaic.train.prepare import parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), ("45", 45), ("1.5s", 1.5)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_seconds(text, "max_time") == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "10 minutes", "-5s", "1d", "s", "1" * 5000, 0, math.nan])
def test_an_invalid_time_is_refused(text: str | float) -> None:
    with pytest.raises(mosaic.UsageError, match="max_time"):
        parse_seconds(text, "max_time")


def test_any_number_of_seconds_is_a_time() -> None:
    assert parse_seconds(2.5, "max_time") == 2.5
    assert parse_seconds(10**400, "max_time") > 1e9


def test_labels_are_needed_by_a_network_with_classes(tiny: mosaic.DataSet) -> None:
    options = {**SMALL["network_options"], "class_conditional": True}
    actual = train(tiny, network_options=options)
    assert actual.classes == ("a", "b", "c")
    unlabelled = mosaic.DataSet("bare", tiny.images)
    with pytest.raises(mosaic.UsageError, match="labels"):
        train(unlabelled, "other", network_options=options)


def test_defaults_of_the_data_set_come_before_the_general_ones_and_after_what_is_asked_for(
    tiny: mosaic.DataSet,
) -> None:
    own = {"learning_rate": 0.02, "networks": {"resnet": {"channels": 3}, "unet": {"channels": [2]}}}
    data = mosaic.DataSet("own", tiny.images, training=own)
    actual = mosaic.train("resnet", data, out="a", epochs=1, network_options={"blocks": 1}).config
    assert (actual.learning_rate, actual.network_options["channels"], actual.network_options["blocks"]) == (0.02, 3, 1)
    asked = mosaic.train("unet", data, out="b", epochs=1, learning_rate=0.5, seed=3).config
    assert (asked.learning_rate, asked.network_options["channels"]) == (0.5, [2])


def test_an_option_that_the_network_does_not_have_is_refused(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=r"'chanels'.*'channels'"):
        train(tiny, network_options={"chanels": 3})
    with pytest.raises(mosaic.PluginError, match=r"'resnt'.*'resnet'"):
        mosaic.train("resnt", tiny, out="net")
    assert not Path("net").exists()
