"""Effective candidates, against a brute-force posterior."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import pytest
import torch

import mosaic
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.transition.candidates import TIMES, count_candidates, windows_for
from mosaic.run.config import RunConfig
from mosaic.sampling.noise import initial_noise

DIGITS = mosaic.registry().get("dataset", "digits")().load().images


@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_they_are_those_of_a_posterior_by_brute_force(boundary: str) -> None:
    training, clean = DIGITS[:3, :, 1:6, 1:6].contiguous(), DIGITS[10:12, :, 1:6, 1:6].contiguous()
    config = RunConfig(score="els", score_options={"boundary": boundary}, scales="5", steps=1, samples=2, seed=4)
    plan = Study(ReproduceConfig(), Path("root")).prepare(config, mosaic.DataSet("few", training))
    reports: list[tuple[float, float]] = []
    actual = count_candidates(plan, clean, (1, 3), lambda done, total, *_: reports.append((done, total)))
    assert actual["n_eff_pixel"].dims == ("time", "k", "sample")
    noise, images = initial_noise(4, range(2), (1, 5, 5)).double().numpy(), training.double().numpy()
    for time in TIMES[::4]:
        level = plan.schedule.level(time)
        for k in (1, 3):
            for sample in range(2):
                x = (level.signal * clean[sample].double().numpy() + level.noise * noise[sample]).astype(np.float32)
                counts = []
                for pixel in oracle.pixels("els", boundary, x.astype(float), images, level.signal, k):
                    weights = pixel.weights(level.noise)
                    kept = weights[weights > 0]
                    counts.append(np.exp(-(kept * np.log(kept)).sum()))
                value = float(actual["n_eff_pixel"].sel(time=time, k=k)[sample])
                assert value == pytest.approx(np.median(counts), rel=1e-4)
    assert reports[-1][0] == pytest.approx(reports[-1][1])


def test_windows_are_no_larger_than_images() -> None:
    assert windows_for(mosaic.DataSet("digits", DIGITS[:2])) == (1, 3, 5, 7)
    assert windows_for(mosaic.DataSet("large", torch.zeros((2, 1, 32, 40), dtype=torch.float32)))[-1] == 31
