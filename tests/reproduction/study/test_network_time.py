"""How long a network takes: measured before it is trained, in proportion to what it is to do."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from small_reproduction import SMALL

from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.network_time import MEASURED, network_seconds
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.study import Study
from mosaic.run.config import RunConfig


@pytest.mark.parametrize("row", ["mnist-unet-zeros", "fashion-resnet-zeros"])
def test_seconds_are_those_of_a_batch_times_the_evaluations(row: str) -> None:
    settings = {**SMALL, "network_options": {"channels": (4, 4)} if "unet" in row else SMALL["network_options"]}
    experiment = Experiment(row_named(row), Study(ReproduceConfig(**settings), Path("root")))
    with patch("mosaic.reproduction.study.network_time.time") as clock:
        clock.perf_counter.side_effect = [10.0, 10.0 + 6 * MEASURED]  # 6 seconds a batch
        assert network_seconds(experiment, 100) == pytest.approx(100 * 6 / RunConfig().batch_size)
    assert not Path("root").exists()
