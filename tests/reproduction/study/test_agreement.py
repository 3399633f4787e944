"""Agreement of runs, and medians with intervals along any axes."""

from __future__ import annotations

import numpy as np
import pytest

import mosaic
from mosaic.evaluate.statistics import interval_of
from mosaic.reproduction.study.agreement import ends_text, intervals, pearson_r


def test_runs_are_correlated_image_by_image(tiny: mosaic.DataSet) -> None:
    one, other = (
        mosaic.run(score, tiny, steps=3, samples=3, scales=scales) for score, scales in (("is", None), ("els", 3))
    )
    pairs = zip(one["image"].values, other["image"].values, strict=True)
    expected = [np.corrcoef(first.ravel(), second.ravel())[0, 1] for first, second in pairs]
    np.testing.assert_allclose(pearson_r(one, other), expected, rtol=1e-5)
    with pytest.raises(mosaic.UsageError, match="noise"):
        pearson_r(one, mosaic.run("is", tiny, steps=3, samples=3, seed=1))


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_each_row_of_samples_has_its_interval(statistic: str) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 7))
    values[1, 2] = np.nan
    made = intervals(values, statistic)
    assert made.shape == (2, 3, 3)
    assert made[0, 1].tolist() == list(interval_of(values[0, 1], statistic))
    assert np.isnan(made[1, 2]).all()


def test_an_interval_is_written_with_three_digits() -> None:
    assert ends_text([0.5, -0.25, 1]) == "0.500 [-0.250, 1.000]"
