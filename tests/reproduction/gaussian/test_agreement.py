"""Agreement along a network's flow: with itself, and against direct evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mosaic
from mosaic.reproduction.gaussian.agreement import agreement_batch, agreement_steps, relative_error
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study
from mosaic.run.config import RunConfig

DATASET = mosaic.DataSet("digits", mosaic.registry().get("dataset", "digits")().load().images[:40])


def test_steps_are_nearest_to_those_of_theories() -> None:
    assert agreement_steps([i / 20 for i in range(20, 0, -1)]) == list(range(20))
    steps = agreement_steps([i / 150 for i in range(150, 0, -1)])
    assert len(set(steps)) == 20
    assert (steps[0], steps[10]) == (0, 75)


def test_relative_errors_are_over_the_norm_of_the_reference() -> None:
    reference = torch.full((2, 1, 1, 2), 2.0, dtype=torch.float32)
    predicted = reference + torch.tensor([[[[1.0, 1.0]]], [[[0.0, 2.0]]]], dtype=torch.float32)
    assert relative_error(predicted, reference).tolist() == [0.25, 0.5]


def test_the_network_itself_agrees_and_others_as_evaluated_directly() -> None:
    mosaic.run("is", DATASET, steps=40, samples=3, save="none", out="network.nc", progress=False)
    study, plans = Study(ReproduceConfig(), Path("root")), {}
    for name in ("is", "gaussian"):
        plans[name] = study.prepare(RunConfig(score=name, steps=40, samples=3, save="none"), DATASET)
    actual = agreement_batch(plans, Path("network.nc"), range(1, 3))
    assert actual["sample"].values.tolist() == [1, 2]
    own = actual.sel(theory="is")
    assert float(own["eps_cosine"].min()) == pytest.approx(1, abs=1e-9)
    assert float(own["eps_error"].max()) < 1e-9
    assert float(own["denoised_error"].max()) < 1e-9
    with mosaic.open("network.nc") as run:
        at = run.isel(sample=[1, 2]).sel(time=0.5, method="nearest").load()
    level = mosaic.Level(float(at["signal"]), float(at["noise"]))
    x, network = (at[name].values.astype(float).reshape(2, -1) for name in ("state", "denoised"))
    score = mosaic.score("gaussian", DATASET)
    predicted = score.denoise(at["state"].values, level=level).numpy().reshape(2, -1).astype(float)
    first, second = ((x - level.signal * each) / level.noise for each in (predicted, network))
    cosine = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    there = actual.sel(theory="gaussian")
    there = there.isel(time=int(np.abs(there["time"].values - 0.5).argmin()))
    np.testing.assert_allclose(there["eps_cosine"], cosine, rtol=1e-6)
    expected = ((first - second) ** 2).sum(1) / (second**2).sum(1)
    np.testing.assert_allclose(there["eps_error"], expected, rtol=1e-5)
    expected = ((predicted - network) ** 2).sum(1) / (network**2).sum(1)
    np.testing.assert_allclose(there["denoised_error"], expected, rtol=1e-5)
