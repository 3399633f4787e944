"""A plan: its batches, where they start, and what is evaluated."""

from __future__ import annotations

import pytest
import torch
from careless import Careless

import mosaic
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.config import RunConfig
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare


def plan_of(data: mosaic.DataSet, **settings: object) -> Plan:
    return prepare(RunConfig.model_validate({"steps": 3, **settings}), DataAccess(), dataset=data)


def test_batches_hold_every_sample_once(tiny: mosaic.DataSet) -> None:
    plan = plan_of(tiny, samples=7, batch_size=3)
    assert plan.batches == [range(3), range(3, 6), range(6, 7)]
    assert plan.size.batch == 3


def test_a_sample_starts_from_its_own_noise_whatever_its_batch(tiny: mosaic.DataSet) -> None:
    whole, parts = plan_of(tiny, samples=5, batch_size=5), plan_of(tiny, samples=5, batch_size=2)
    starts = whole.starts(range(5))
    assert starts.shape == (5, 1, 6, 5)
    assert torch.equal(starts, torch.cat([parts.starts(batch) for batch in parts.batches]))
    assert len(starts.flatten(1).unique(dim=0)) == 5
    assert torch.equal(starts, torch.from_numpy(mosaic.run(dataset=tiny, samples=5, steps=3)["state"].values[:, 0]))


def test_steps_have_the_samples_own_seeds_and_labels(tiny: mosaic.DataSet) -> None:
    plan = plan_of(tiny, samples=4, labels="2,0,1,2", seed=9)
    assert plan.labels_of(range(1, 4)).tolist() == [0, 1, 2]
    assert plan.step_seeds(range(1, 4)) == list(plan.seeds[1:4])
    assert plan_of(tiny, samples=2, seed=9).step_seeds(range(2)) == list(plan.seeds[:2])


def test_work_of_the_batches_adds_up_to_that_of_all_samples(tiny: mosaic.DataSet) -> None:
    plan = plan_of(tiny, samples=5, batch_size=2, scales="3,5,5", labels="0,1,2,0,1")
    works = [plan.work(batch) for batch in plan.batches]
    assert [sum(steps) for steps in zip(*works, strict=True)] == pytest.approx(plan.work(range(5)))
    assert sum(plan.work(range(5))) == pytest.approx(
        sum(k * plan.model.traits.comparisons(k) * 5 / 3 for k in plan.scales)  # classes are a third of the set
    )


def test_a_score_model_that_changes_its_input_is_named(tiny: mosaic.DataSet) -> None:
    model = Careless(None, tiny)
    plan = prepare(RunConfig(score="careless", steps=1), DataAccess(), score=model, dataset=tiny)
    model.spoils = "x"
    with pytest.raises(mosaic.MosaicError, match="'careless'"):
        plan.denoise(plan.starts(range(1)), 0, range(1))


def test_the_second_evaluation_of_a_step_is_work_too(tiny: mosaic.DataSet) -> None:
    once, twice = plan_of(tiny, scales="3,5,7"), plan_of(tiny, scales="3,5,7", sampler="heun")
    assert twice.work(range(2)) == pytest.approx(
        [2 * once.work(range(2))[0], 2 * once.work(range(2))[1], once.work(range(2))[2]]
    )
    comparisons = once.model.traits.comparisons
    assert twice.comparisons() == pytest.approx(4 * (2 * comparisons(7) + 2 * comparisons(5) + comparisons(3)))
