"""The attention experiment on 16 x 16 pixels and two colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mosaic
from mosaic.reproduction.reproduce import forecast_reproduction, prepare_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.forecast import Forecast
from mosaic.reproduction.study.study import Study

MINIATURE: dict[str, Any] = {
    "dataset_options": {"count": 16, "colours": 2, "size": 16, "height": 16},
    "network_options": {"channels": 4, "blocks": 1},
    "epochs": 2,
    "samples": 12,
    "calibration_samples": 1,
}
TWICE = {**MINIATURE, "trainings": 2}  # of the target `attention`


def miniature() -> mosaic.DataSet:
    """Load its training set."""
    data = mosaic.registry().get("dataset", "pairs")
    return data(data.Options(**MINIATURE["dataset_options"])).load()


def forecast_of(name: str, **settings: Any) -> list[Forecast]:
    """Forecast a target of the experiment in the folder out."""
    study = Study(ReproduceConfig(**(settings or MINIATURE)), Path("out/cpu"))
    return forecast_reproduction(prepare_reproduction(name, study))
