"""From settings to a calibration: sizes, and what the network's training decides."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import mosaic
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.calibration.prepare import parse_sizes, prepare_calibration
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.settings import layered

TRUE = "3,3,5,5,7"  # from the lowest noise up


@pytest.fixture
def network(tiny: mosaic.DataSet) -> mosaic.Checkpoint:
    options = {"channels": 4, "blocks": 1}
    return mosaic.train("resnet", tiny, out="net", network_options=options, epochs=2, batch_size=4, precision="float32")


@pytest.mark.parametrize(
    ("text", "sizes"), [("3-9", (3, 5, 7, 9)), ("5", (5,)), ("3,9,11", (3, 9, 11)), ("3-8", (3, 5, 7)), ("2,4", (2, 4))]
)
def test_sizes_are_read(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "9-3", "5,3", "3,3", "0-8", "3,4.5", "-1", "many", "3-5-7"])
def test_what_is_not_a_list_of_sizes_is_refused(text: str) -> None:
    with pytest.raises(mosaic.UsageError):
        parse_sizes(text)


def test_a_machine_without_scales_is_refused(network: mosaic.Checkpoint, tiny_file: Path) -> None:
    layers = [{"checkpoint": "net", "dataset": "file", "dataset_options": {"path": str(tiny_file)}}]
    with pytest.raises(mosaic.UsageError, match="'is'"):
        prepare_calibration(layered(CalibrationConfig, *layers, {"score": "is"}), DataAccess())
    with pytest.raises(mosaic.UsageError, match="'checkpoint'"):
        prepare_calibration(layered(CalibrationConfig), DataAccess())
    plan = prepare_calibration(layered(CalibrationConfig, *layers, {"sizes": "3,7"}), DataAccess())
    assert plan.sizes == (3, 7)
    assert plan.network.config.score == "network"


def test_a_range_of_continuous_sizes_rises_by_a_fifth() -> None:
    sizes = parse_sizes("2-17", continuous=True)
    assert (sizes[0], sizes[-1]) == (2, 17)
    ratios = [larger / smaller for smaller, larger in pairwise(sizes)]
    assert max(ratios) - min(ratios) < 1e-5
    assert 1.17 < ratios[0] < 1.23
    assert parse_sizes("2.5,4,17.25", continuous=True) == (2.5, 4, 17.25)
    assert parse_sizes("4-4", continuous=True) == (4,)


@pytest.mark.parametrize("text", ["0-3", "-3,5", "5,3", "nan,3", "3,inf", "a", "3-5-7", "9-3", "3,3"])
def test_continuous_sizes_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(mosaic.UsageError, match="positive"):
        parse_sizes(text, continuous=True)
