"""A calibration that is ready to start: the work of its sizes."""

from __future__ import annotations

import pytest

import mosaic
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.calibration.plan import CalibrationPlan
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.prepare import prepare


def test_work_is_comparisons_times_k_of_each_size_for_the_samples_of_a_batch(tiny: mosaic.DataSet) -> None:
    kind = mosaic.registry().get("score", "els")
    machine = kind(kind.Options(boundary="circular"), tiny)  # all 30 x 30 pairs of windows, of 12 images
    run = RunConfig(steps=2, samples=3, batch_size=2, labels="0,1,2")
    network = prepare(run, DataAccess(), score=machine, dataset=tiny)
    plan = CalibrationPlan(CalibrationConfig(checkpoint="none"), network, machine, (3, 5))
    assert plan.work(range(2)) == pytest.approx([2 / 3 * 12 * 30**2 * k for k in (3, 5)])  # a third of them a class
    assert plan.work(range(2, 3)) == pytest.approx([1 / 3 * 12 * 30**2 * k for k in (3, 5)])
