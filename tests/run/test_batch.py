"""One batch of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reports import Reports

import mosaic
from mosaic.run.batch import run_batch
from mosaic.run.prepare import prepare
from mosaic.storage.trajectory import levels_of


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


def test_the_grid_of_the_sampler_is_that_of_the_run(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("is", tiny, steps=5, samples=1, sampler="euler", sampler_options={"grid": "karras"})
    schedule = mosaic.registry().make("schedule", "cosine", {})
    times = mosaic.registry().make("sampler", "euler", {"grid": "karras"}).times(schedule, 5)
    assert run["time"].values.tolist() == times
    assert run["noise"].values.tolist() == [schedule.level(t).noise for t in times]


def test_what_is_kept_of_a_step_is_that_of_its_first_evaluation(tiny: mosaic.DataSet) -> None:
    settings: dict[str, Any] = {"steps": 4, "samples": 2, "sampler": "heun", "dtype": "float64"}
    run = mosaic.run("is", tiny, save="score,provenance,entropy", save_steps="all", **settings)
    assert run["denoised"].equals(mosaic.run("is", tiny, save="none", **settings)["denoised"])
    score = (run["signal"] * run["denoised"] - run["state"]) / run["noise"] ** 2
    np.testing.assert_allclose(run["score"].values, score.transpose(*run["score"].dims).values, rtol=1e-9, atol=1e-9)
    model = mosaic.registry().get("score", "is")(None, tiny)
    for step, level in enumerate(levels_of(run)):
        entropy = model.attribute(torch.from_numpy(run["state"].values[:, step]), level).entropy
        np.testing.assert_allclose(run["entropy"].values[:, step], entropy.numpy(), rtol=1e-6, atol=1e-9)


def test_the_run_goes_on_from_where_the_step_leads(tiny: mosaic.DataSet) -> None:
    plan = prepare(mosaic.RunConfig(score="is", steps=3, samples=2), mosaic.DataAccess(), dataset=tiny)

    def shift(*, step: mosaic.Step) -> None:
        step.following = torch.full_like(step.following, step.index)

    run = run_batch(plan, plan.batches[0], after_step=shift)
    assert (run["state"].isel(step=1) == 0).all()
    assert (run["state"].isel(step=2) == 1).all()
    assert (run["image"] == 2).all()


class Broken(mosaic.Sampler):
    """Gives `steps` in turn."""

    name = "broken"
    steps = ()

    def flow(self, denoise, x, levels, draw):
        for index, change in self.steps:
            yield mosaic.Step(index, x, x, change(x))


def same(x):
    return x


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        ([(0, same), (1, same)], "2 of 3"),
        ([(0, same), (1, same), (2, same), (3, same)], "3 of 3"),
        ([(0, same), (2, same)], "step 2"),
        ([(0, lambda x: x / 0)], "step 0"),
        ([(0, lambda x: x[:1])], "step 0"),
        ([(0, lambda x: x.double())], "float64"),
    ],
)
def test_a_sampler_that_breaks_the_contract_is_named(tiny, monkeypatch, steps, value):
    plan = prepare(mosaic.RunConfig(score="is", steps=3, samples=2), mosaic.DataAccess(), dataset=tiny)
    monkeypatch.setattr(Broken, "steps", steps)
    object.__setattr__(plan, "sampler", Broken())
    with pytest.raises(mosaic.MosaicError, match=rf"'ddim'.*{value}"):
        run_batch(plan, plan.batches[0])
