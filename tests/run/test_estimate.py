"""Predicted times."""

from __future__ import annotations

import pytest

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic.run import estimate
from mosaic.run.config import RunConfig
from mosaic.run.estimate import _arithmetic, predict_seconds
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered


def test_the_prediction_adds_up_the_time_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    config = layered(
        RunConfig, {"steps": 5, "samples": 12, "batch_size": 3, "scales": "3,3,5,5,7", "dataset": "digits"}
    )
    plan = prepare(config, DataAccess())
    asked = []

    def seconds(plan: Plan, index: int, scale: float, count: int) -> float:
        asked.append(count)
        return 0.5 + count * scale * 1e-3  # an overhead, and time in proportion to the images

    monkeypatch.setattr(estimate, "_seconds", seconds)
    expected = sum(0.5 + 1797 * k * 1e-3 for k in plan.scales) * 12 / 3
    for long_enough in (1e9, 1e-9):  # timed on the whole set; extrapolated from subsets
        asked.clear()
        monkeypatch.setattr(estimate, "LONG_ENOUGH", long_enough)
        assert predict_seconds(plan) == pytest.approx(expected)
        assert (max(asked) == 1797) == (long_enough == 1e9)


def test_steps_whose_arithmetic_differs_are_timed_apart() -> None:
    config = layered(RunConfig, {"score": "is", "samples": 1, "dataset": "digits", "dataset_options": {"limit": 50}})
    assert len({_arithmetic(plan, i, 0) for plan in [prepare(config, DataAccess())] for i in range(20)}) == 2


def test_no_time_is_predicted_for_a_callable(tiny: mosaic.DataSet) -> None:
    plan = prepare(layered(RunConfig, {"steps": 2}), DataAccess(), score=lambda x, t: x, dataset=tiny)
    assert predict_seconds(plan) is None
