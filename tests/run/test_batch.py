"""One batch of a run."""

from __future__ import annotations

import numpy as np
import pytest
from reports import Reports

import mosaic
from mosaic.run.batch import run_batch
from mosaic.run.prepare import prepare


def test_each_state_follows_from_the_one_before_by_the_ddim_rule(tiny: mosaic.DataSet) -> None:
    run = mosaic.run(dataset=tiny, steps=6, samples=2, dtype="float64")
    a, s = run["signal"], run["noise"]
    eps = (run["state"] - a * run["denoised"]) / s
    expected = (a.shift(step=-1) * run["denoised"] + s.shift(step=-1) * eps).isel(step=slice(0, -1))
    expected = expected.transpose(*run["state"].dims)
    np.testing.assert_allclose(run["state"].isel(step=slice(1, None)).values, expected.values, atol=2e-6)
    first = run["state"].isel(step=0) / s.isel(step=0)
    assert 0.5 < float(first.std()) < 1.5


def test_a_batch_reports_its_own_work_after_each_step(tiny: mosaic.DataSet) -> None:
    plan = prepare(mosaic.RunConfig(steps=3, samples=3, scales="3", batch_size=2), mosaic.DataAccess(), dataset=tiny)
    reports, batch = Reports(), plan.batches[0]
    run_batch(plan, batch, reports)
    total = sum(plan.work(batch))
    shares = [share * total for share in (1 / 3, 2 / 3, 1)]
    assert [done for done, *_ in reports] == pytest.approx(shares)
    assert [rest for _, *rest in reports] == [[total, plan.unit, f"step {step}/3"] for step in (1, 2, 3)]
