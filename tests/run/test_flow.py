"""A flow by hand: the steps of a run, changed on the way, and from any state."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

import mosaic


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "heun", "dpmpp-2m"])
def test_its_steps_are_those_of_a_run_with_these_seeds(tiny: mosaic.DataSet, sampler: str) -> None:
    run = mosaic.run("els", tiny, steps=4, samples=3, sampler=sampler, scales="3,3,5,5", labels="0,1,2")
    own = mosaic.score("els", tiny, scales="3,3,5,5")
    steps = list(mosaic.flow(own, run["seed"].values, steps=4, sampler=sampler, labels=[0, 1, 2]))
    for name in ("state", "denoised"):
        np.testing.assert_array_equal(np.stack([getattr(step, name) for step in steps], 1), run[name])
    np.testing.assert_array_equal(steps[-1].following, run["image"])
    assert [step.t for step in steps] == run["time"].values.tolist()
    assert [step.k for step in steps] == run["scale"].values.tolist()
    for step in steps:
        torch.testing.assert_close(step.level.signal * step.denoised + step.level.noise * step.eps, step.state)
        torch.testing.assert_close(step.score, -step.eps / step.level.noise)


def test_a_grid_that_starts_below_one_starts_there_as_a_run_does(tiny: mosaic.DataSet) -> None:
    options = {"grid": "leading", "clip": 1}
    run = mosaic.run("is", tiny, steps=4, samples=2, sampler_options=options, schedule="ddpm-linear")
    assert run["time"].values.tolist() == [0.751, 0.501, 0.251, 0.001]
    again = mosaic.run("is", tiny, steps=5, init=run, schedule="ddpm-linear")
    torch.testing.assert_close(
        torch.from_numpy(again["state"].values[:, 0] / float(again["noise"][0])),
        torch.from_numpy(run["state"].values[:, 0] / float(run["noise"][0])),
    )
    own = mosaic.score("is", tiny, schedule="ddpm-linear")
    steps = list(mosaic.flow(own, run["seed"].values, steps=4, sampler_options=options))
    np.testing.assert_array_equal(steps[-1].following, run["image"])
    assert [step.t for step in steps] == run["time"].values.tolist()


def test_it_goes_on_from_what_following_is_set_to(tiny: mosaic.DataSet) -> None:
    own, given = mosaic.score("is", tiny), torch.full((2, *tiny.shape), 0.25)
    for step in mosaic.flow(own, seeds=[0, 1], steps=4):
        if step.index == 1:
            step.following = given
        if step.index == 2:
            assert step.state is given


def test_it_stops_where_it_is_left_and_starts_from_any_state(tiny: mosaic.DataSet) -> None:
    own = mosaic.score("els", tiny)
    whole = list(mosaic.flow(own, seeds=range(2), steps=8))
    *_, left = islice(mosaic.flow(own, seeds=range(2), steps=8), 3)
    on = list(mosaic.flow(own, steps=8, x=left.following, t=whole[3].t))
    assert [step.t for step in on] == [step.t for step in whole[3:]]
    assert torch.equal(on[-1].following, whole[-1].following)
    between = list(mosaic.flow(own, steps=8, x=left.following.numpy(), t=0.6))
    assert [step.t for step in between] == [0.6, *(step.t for step in whole if step.t < 0.6)]
    assert [step.index for step in between] == list(range(len(between)))


def test_any_score_flows(tiny: mosaic.DataSet) -> None:
    own = mosaic.score(lambda x, t: 0.5 * x, tiny, schedule="flow")
    run = mosaic.run(own, steps=3, samples=2)
    *_, last = mosaic.flow(own, run["seed"].values, steps=3)
    np.testing.assert_array_equal(last.following, run["image"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"t": 0.5}, "`x`"),
        ({"t": 0.0}, "`t`"),
        ({"t": 1.5}, "`t`"),
        ({"steps": 0}, "`steps`"),
        ({"sampler": "dim"}, "'ddim'"),
        ({"sampler_options": {"eta": 2}}, "eta"),
        ({"seeds": [1], "x": torch.zeros(2, 1, 6, 5)}, "`seeds`"),
        ({"x": torch.zeros(2, 2)}, r"\(2, 2\)"),
        ({"steps": "many"}, "`steps`"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_first_step(
    tiny: mosaic.DataSet, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(mosaic.MosaicError, match=named):
        mosaic.flow(mosaic.score("is", tiny), **arguments)


def test_a_step_is_shown_in_a_line(tiny: mosaic.DataSet) -> None:
    step = next(iter(mosaic.flow(mosaic.score("els", tiny, scales=3), seeds=[0, 1], steps=2)))
    assert repr(step) == "FlowStep(0, t = 1, k = 3, B, C, H, W = (2, 1, 6, 5))"


def test_what_follows_may_be_an_array(tiny: mosaic.DataSet) -> None:
    for step in mosaic.flow(mosaic.score("els", tiny, scales=3), seeds=[0], steps=3):
        step.following = step.following.numpy() / 2
    assert step.index == 2


@pytest.mark.parametrize("name", ["state", "denoised", "t", "k"])
def test_only_what_follows_can_be_set(tiny: mosaic.DataSet, name: str) -> None:
    step = next(iter(mosaic.flow(mosaic.score("els", tiny, scales=3), seeds=[0], steps=2)))
    with pytest.raises(mosaic.UsageError, match="`following`"):
        setattr(step, name, step.state)
