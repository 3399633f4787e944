"""Consistency against novelty, in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable
from small_attention import MINIATURE, TWICE, forecast_of, miniature

import mosaic
from mosaic.reproduction.attention.table import AttentionTable, interval_text
from mosaic.reproduction.attention.tradeoff import MACHINES, AttentionTradeoff
from mosaic.reproduction.paper.memorization import FACTORS
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study


@pytest.mark.slow
def test_the_tradeoff_in_miniature() -> None:
    actual = mosaic.reproduce("attention-tradeoff", out="out", **{**MINIATURE, "samples": 2})
    dataset = miniature()
    assert dataset.rule is not None
    assert (actual["cover"] >= 1).all()
    for factor in (0.5, 3.0):
        run = mosaic.open(f"out/cpu/pairs-resnet/compose-top1-times-{factor:g}.nc")
        images = torch.from_numpy(run["image"].values)
        made = actual.sel(machine="compose top1", factor=factor)
        assert float(made["consistency_share"]) == (dataset.rule.judge(images) == 0).double().mean()
        nearest, _ = mosaic.nearest_images(images, dataset.images)
        assert made["nearest_train"].values.tolist() == nearest[:, 0].tolist()
    # At one run the experiment's own: nothing is computed twice.
    assert Path("out/cpu/pairs-resnet/els.nc").exists()
    assert not Path("out/cpu/pairs-resnet/els-times-1.nc").exists()
    assert all(step.done for step in forecast_of("attention-tradeoff", **{**MINIATURE, "samples": 2}))


@pytest.fixture
def tradeoff() -> AttentionTradeoff:
    return AttentionTradeoff(Study(ReproduceConfig(**MINIATURE), Path("root")))


def test_its_steps_are_every_machine_at_every_factor(tradeoff: AttentionTradeoff) -> None:
    steps = {step.name: step for step in tradeoff.steps()}
    assert list(steps) == [f"attention-tradeoff: {name} x {factor:g}" for name in MACHINES for factor in FACTORS]
    scales = {
        factor: set(steps[f"attention-tradeoff: els x {factor:g}"].job().identity["scales"]) for factor in FACTORS
    }
    assert scales == {0.5: {3}, 1.0: {7}, 1.5: {11}, 2.0: {15}, 3.0: {21}}  # odd, the nearest to 7 x factor or above


def test_it_trains_no_network_several_times() -> None:
    with pytest.raises(mosaic.UsageError, match="trainings"):
        AttentionTradeoff(Study(ReproduceConfig(**TWICE), Path("root")))


def test_at_factor_1_it_uses_the_runs_of_the_attention_experiment(tradeoff: AttentionTradeoff) -> None:
    table = {step.name: step for step in AttentionTable(tradeoff.study).steps()}
    steps = {step.name: step for step in tradeoff.steps()}
    for name in ("els", "mixture top1"):
        ours, theirs = steps[f"attention-tradeoff: {name} x 1"].job(), table[f"attention: {name}"].job()
        assert ours.place == theirs.place
        assert not ours.differing(theirs.identity)
        assert steps[f"attention-tradeoff: {name} x 2"].job().place != ours.place


@pytest.fixture
def measured() -> xr.Dataset:
    """Three samples of each machine at each factor."""
    rng, shape = np.random.default_rng(0), (len(MACHINES), len(FACTORS))
    ends = {
        f"{name}{end}": (("machine", "factor"), rng.random(shape) + off)
        for name, value in (("consistency", "_share"), ("beyond_chance", ""))
        for end, off in ((value, 1.0), ("_low", 0.0), ("_high", 2.0))
    }
    return xr.Dataset(
        {
            **ends,
            "new_share": (("machine", "factor"), rng.random(shape)),
            "nearest_train": (("machine", "factor", "sample"), rng.random((*shape, 3))),
            "cover": (("machine", "factor", "sample"), rng.integers(1, 9, (*shape, 3))),
        },
        {"machine": list(MACHINES), "factor": list(FACTORS)},
    )


def test_its_summary_says_medians_of_every_machine_at_every_factor(
    tradeoff: AttentionTradeoff, measured: xr.Dataset
) -> None:
    lines = tradeoff.summary(measured)
    assert [line.partition(":")[0] for line in lines] == [f"{name}, k x {f:g}" for name in MACHINES for f in FACTORS]
    last = measured.isel(machine=-1, factor=-1)
    assert f" {np.median(last['nearest_train']):.2f}, " in lines[-1]
    assert lines[-1].endswith(f" {np.median(last['cover']):g}")
    assert interval_text(last, "beyond_chance", "") in lines[-1]


def test_its_curves_go_through_medians_and_shares(
    tradeoff: AttentionTradeoff, measured: xr.Dataset, tmp_path: Path
) -> None:
    figure = tradeoff.draw(measured)
    *_, novelty, cover = figure.axes
    assert len(cover.get_lines()) == len(MACHINES)
    for number, machine in enumerate(MACHINES):
        runs = measured.sel(machine=machine)
        expected = np.stack([np.median(runs["nearest_train"], 1), runs["consistency_share"]], 1)
        np.testing.assert_allclose(novelty.get_lines()[number].get_xydata(), expected)
        np.testing.assert_allclose(cover.get_lines()[number].get_ydata(), np.median(runs["cover"], 1))
        assert cover.get_lines()[number].get_label() == machine
        # Beside each other, so that no line hides another.
        assert np.abs(cover.get_lines()[number].get_xdata() - np.array(FACTORS)).max() < 0.1
    check_readable(figure)


def test_a_value_outside_its_bootstrap_interval_is_drawn(tradeoff: AttentionTradeoff, measured: xr.Dataset) -> None:
    low = measured["beyond_chance"] - 0.02  # where nearly all agree, resampling only lowers the statistic
    figure = tradeoff.draw(measured.assign(beyond_chance_low=low, beyond_chance_high=low + 0.01))
    bars = figure.axes[1].containers[0].lines[2][0].get_segments()
    value = measured["beyond_chance"].sel(machine=MACHINES[0]).values
    np.testing.assert_allclose([segment[:, 1] for segment in bars], np.stack([value - 0.02, value], axis=1))
