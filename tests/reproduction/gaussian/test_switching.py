"""A theory first, then the network: known ends, and a network that is the Gaussian itself."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mosaic
from mosaic.reproduction.gaussian.switching import (
    EDM_STEPS,
    FIRSTS,
    SHARES,
    SKIPPED,
    edm_sigmas,
    evaluations,
    switched_batch,
    times_after,
)
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.rows import THEORY_STEPS
from mosaic.reproduction.study.study import Study
from mosaic.run.config import RunConfig
from mosaic.run.plan import Plan

DATASET = mosaic.DataSet("digits", mosaic.registry().get("dataset", "digits")().load().images[:40])


def plan_of(score: str, steps: int) -> Plan:
    config = RunConfig(score=score, steps=steps, samples=2, save="none")
    return Study(ReproduceConfig(), Path("root")).prepare(config, DATASET)


def switched(steps: int, score: str = "gaussian") -> Any:
    """Images where a machine stands in for the network."""
    mosaic.run("els", DATASET, scales=3, steps=THEORY_STEPS, samples=2, save="none", out="els.nc", progress=False)
    plan = plan_of(score, steps)
    gaussian = mosaic.registry().make("score", "gaussian", {}, DATASET)
    return plan, switched_batch(plan, gaussian, Path("els.nc"), range(2))


def test_its_grid_is_edms() -> None:
    edm = mosaic.registry().make("schedule", "edm", {})
    expected = [edm.level(1 - i / (EDM_STEPS - 1)).ratio for i in range(EDM_STEPS)]
    np.testing.assert_allclose(edm_sigmas(), expected, rtol=1e-9)
    assert [round(edm_sigmas()[skipped], 1) for skipped in (0, 3, 4, 5)] == [80, 28.4, 19.4, 12.9]


def test_the_rest_of_a_grid_starts_where_the_theory_ends() -> None:
    times = [i / 10 for i in range(10, 0, -1)]
    assert times_after(0, times) == times
    assert times_after(0.3, times) == times[3:]
    assert times_after(0.15, times) == [0.85, *times[2:]]
    assert times_after(1, times) == []
    assert all(share * 20 == pytest.approx(round(share * 20)) for share in SHARES)  # ELS has a state there


def test_without_a_share_images_are_those_of_the_network_bit_by_bit() -> None:
    _, images = switched(THEORY_STEPS, "is")
    own = mosaic.run("is", DATASET, steps=THEORY_STEPS, samples=2, save="none", progress=False)["image"].values
    for first in FIRSTS:
        np.testing.assert_array_equal(images["switched_image"].sel(first=first, share=0), own)
    assert not np.array_equal(images["switched_image"].sel(first="gaussian", share=1), own)
    with mosaic.open("els.nc") as els:
        np.testing.assert_array_equal(images["switched_image"].sel(first="els", share=1), els["image"])
        # The network goes on from the state that ELS reached.
        state = torch.from_numpy(els["state"].sel(time=0.5, method="nearest").values)
    for step in mosaic.flow(mosaic.score("is", DATASET), x=state, t=0.5, steps=THEORY_STEPS):
        image = step.following
    np.testing.assert_allclose(images["switched_image"].sel(first="els", share=0.5), image, atol=1e-6)


def test_with_all_of_it_images_are_the_gaussians_in_closed_form() -> None:
    plan, images = switched(THEORY_STEPS)
    level, x = plan.levels[0], plan.starts(range(2)).double().numpy().reshape(2, -1)
    flat = DATASET.images.double().numpy().reshape(len(DATASET), -1)
    mean = flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    along = (x - level.signal * mean) @ vectors
    growth = np.sqrt(values.clip(0) / (level.signal**2 * values.clip(0) + level.noise**2))
    expected = mean + (along * growth) @ vectors.T
    actual = images["switched_image"].sel(first="gaussian", share=1).values.reshape(2, -1)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_a_network_that_is_the_gaussian_gives_the_same_images_at_any_share() -> None:
    _, images = switched(400)
    closed = images["switched_image"].sel(first="gaussian", share=1)
    for share in SHARES:
        assert float(abs(images["switched_image"].sel(first="gaussian", share=share) - closed).max()) < 0.02
    gaps = [float(abs(images["edm_image"].sel(skipped=skipped) - closed).max()) for skipped in SKIPPED]
    assert max(gaps) < 0.1  # of 18 steps of Heun's method
    assert all(later <= earlier * 1.05 for earlier, later in pairwise(gaps))


def test_its_work_is_what_it_evaluates(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, reports = [], []
    denoise = Plan.denoise

    def counted(self: Plan, x: torch.Tensor, *arguments: Any) -> torch.Tensor:
        calls.append(len(x))
        return denoise(self, x, *arguments)

    plan = plan_of("gaussian", 30)
    mosaic.run("els", DATASET, scales=3, steps=THEORY_STEPS, samples=2, save="none", out="els.nc", progress=False)
    monkeypatch.setattr(Plan, "denoise", counted)
    gaussian = mosaic.registry().make("score", "gaussian", {}, DATASET)
    switched_batch(plan, gaussian, Path("els.nc"), range(2), lambda done, total, *_: reports.append((done, total)))
    assert sum(calls) == evaluations(plan.times) * 2
    assert reports[-1] == (sum(calls), sum(calls))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
