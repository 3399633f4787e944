"""The table of a leaderboard: the numbers of `mosaic.compare`, and x0hat at the network's own states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic
from mosaic.view.leaderboard import ranked

# Every score model works in a process of its own.
pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quick_processes")]


def test_final_images_are_compared_as_mosaic_compare_does(board: Path) -> None:
    with xr.open_dataset(board / "leaderboard.nc") as actual:
        assert actual["score"].values.tolist() == ["network", "els", "gaussian"]
        for score in ("els", "gaussian"):
            runs = mosaic.open(board / f"{score}.nc"), mosaic.open(board / "network.nc")
            metrics = ["pearson_r", "r2", "R2", "mse"]
            compared = mosaic.compare(*runs, metrics=metrics)
            for metric in metrics:
                entry = actual.sel(score=score)
                np.testing.assert_array_equal(entry[f"final_{metric}"], compared[metric][:1])
                for end in ("median", "low", "high"):
                    assert float(entry[f"final_{metric}_{end}"]) == float(compared[f"{metric}_{end}"][0])


def test_single_steps_are_evaluated_at_the_networks_own_states(board: Path) -> None:
    source = mosaic.registry().get("dataset", "digits")
    dataset = source(source.Options(limit=40)).load()
    kind = mosaic.registry().get("score", "els")
    machine = kind(kind.Options(boundary="circular"), dataset)  # as the network's padding
    pearson = mosaic.registry().get("metric", "pearson_r")()
    with xr.open_dataset(board / "leaderboard.nc") as actual, mosaic.open(board / "network.nc") as run:
        assert actual["step"].values.tolist() == [0, 3, 6]
        assert run.sizes["step"] == 7
        for place, step in enumerate((0, 3, 6)):
            level = mosaic.Level(float(run["signal"][step]), float(run["noise"][step]))
            x, own = (torch.from_numpy(run[name].values[:, step]) for name in ("state", "denoised"))
            expected = pearson(machine.denoise(x, level, None, 3), own).numpy()
            np.testing.assert_allclose(actual["step_pearson_r"].sel(score="els")[0, place], expected, rtol=1e-6)
        np.testing.assert_allclose(actual["along_pearson_r"], actual["step_pearson_r"].median("step"))
        assert actual["step_mse"].sel(score="network").isnull().all()  # it agrees with itself
        assert (actual["seconds"] > 0).all()
        assert (actual["peak_bytes"] > 2**26).all()
        assert (board / "leaderboard.png").stat().st_size > 10_000
        assert ranked(actual) == sorted(
            ["els", "gaussian"], key=lambda s: -float(actual.final_pearson_r_median.sel(score=s))
        )
