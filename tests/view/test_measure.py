"""Metrics of stored runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mosaic
from mosaic.view.measure import measure, metric_for


def test_k_and_boundary_are_the_runs_own_unless_given(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, samples=2, steps=2, scales="5", score_options={"boundary": "circular"})
    made = metric_for(run, "local_consistency", {}, tiny)
    assert (made.options.k, made.options.boundary) == (5, "circular")
    kind = mosaic.registry().get("metric", "local_consistency")
    own = kind(kind.Options(k=5, boundary="circular"), tiny)(torch.from_numpy(run["image"].values))
    np.testing.assert_array_equal(measure(run, "local_consistency", {}, tiny), own)
    compared = mosaic.compare(run, run, metrics=("local_consistency",), dataset=tiny)
    np.testing.assert_array_equal(compared["local_consistency"].sel(role="run"), own)
    assert metric_for(run, "local_consistency", {"k": 3}, tiny).options.k == 3
    assert metric_for(run, "local_consistency", {"boundary": "zeros"}, tiny).options.boundary == "zeros"


def test_a_run_that_was_cut_has_no_last_window_size(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, samples=2, steps=3, scales="1,3,5")
    for cut in (run.isel(step=slice(2)), run.isel(step=2)):
        with pytest.raises(mosaic.DataError):
            metric_for(cut, "local_consistency", {}, tiny)
        assert metric_for(cut, "local_consistency", {"k": 5}, tiny).options.k == 5
        assert measure(cut, "memorized", {}, tiny).sizes == {"sample": 2}


@pytest.mark.parametrize(("scale", "k"), [(2.4, 3), (4, 5), (0.8, 1), (3, 3), (1e5, 11)])
def test_a_soft_window_is_judged_by_the_nearest_hard_one_within_the_image(
    tiny: mosaic.DataSet, scale: float, k: int
) -> None:
    run = mosaic.run("soft-els", tiny, samples=2, steps=2, scales="3")
    run = run.assign_coords(scale=run["scale"] * 0 + scale)
    assert metric_for(run, "local_consistency", {}, tiny).options.k == k


def test_values_have_the_name_and_the_description_of_the_metric(tiny: mosaic.DataSet) -> None:
    values = measure(mosaic.run("is", tiny, samples=2, steps=2), "memorized", {}, tiny)
    assert (values.name, values.dims, values.dtype) == ("memorized", ("sample",), np.float64)
    assert "copy" in values.attrs["long_name"]


def test_metrics_that_compare_are_left_to_compare(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match=r"mosaic\.compare"):
        mosaic.run("is", tiny, samples=1, steps=1).mosaic.measure("pearson_r", tiny)
