"""The experiments of both halves: as many images as there are twice, scales of half A, and steps in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_reproduction import SMALL

from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.transition.makers import COUNTS, FIXED, Halves


def halves_of(limit: int, **settings: Any) -> Halves:
    config = ReproduceConfig(**{**SMALL, "dataset_options": {"limit": limit}, **settings})
    return Halves(Experiment(row_named("mnist-resnet-zeros"), Study(config, Path("root"))))


@pytest.mark.parametrize(("limit", "counts"), [(20, (10,)), (59, (10,)), (60, (10, 30)), (600, (10, 30, 100, 300))])
def test_counts_are_those_that_the_data_have_twice(limit: int, counts: tuple[int, ...]) -> None:
    assert halves_of(limit).counts == counts


def test_presets_differ_in_their_counts_alone_at_the_end() -> None:
    assert COUNTS["paper"][: len(COUNTS["cpu"])] == COUNTS["cpu"]
    assert halves_of(100, preset="paper").counts == (10, 30)


def test_scales_are_those_of_half_a_and_each_step_follows_what_it_rests_on() -> None:
    halves = halves_of(60)
    assert halves.largest is halves.experiments["A", 30]
    for count in halves.counts:
        assert halves.experiments["B", count].scales_owner() is halves.experiments["A", count]
    steps = {step.name: step for step in halves.steps()}
    row = "mnist-resnet-zeros"
    assert [name for name in steps if FIXED in name] == [f"{row} {half} 10: {FIXED}" for half in ("A", "B")]
    rests_on = {name: step.rests_on.name for name, step in steps.items() if step.rests_on is not None}
    assert rests_on[f"{row} B 10: {FIXED}"] == f"{row} A 30: calibrate"
    assert rests_on[f"{row} B 10: els"] == f"{row} A 10: calibrate"
    assert rests_on[f"{row} B 10: network"] == f"{row} B 10: train"
    assert set(rests_on.values()) <= set(steps)
    assert sum(name.endswith(": calibrate") for name in steps) == 2
