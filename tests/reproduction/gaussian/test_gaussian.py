"""The Gaussian first, then the network: what is kept, resumed and refused, and the table and picture of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable, pixels_of
from small_reproduction import SMALL

import mosaic
from mosaic.evaluate.statistics import interval_of
from mosaic.reproduction.gaussian.gaussian import GaussianFirst, joined
from mosaic.reproduction.gaussian.shares import largest_share
from mosaic.reproduction.gaussian.switching import SHARES, SKIPPED
from mosaic.reproduction.reproduce import forecast_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study

ROW, OTHER = "fashion-resnet-zeros", "mnist-resnet-zeros"  # with classes, and without


@pytest.mark.system
def test_rows_are_measured_kept_and_resumed(folder: Path, tmp_path: Path) -> None:
    first = mosaic.reproduce("gaussian", [ROW], out=folder, **SMALL)
    for key, variable in first.variables.items():
        assert variable.attrs["long_name"], key
    with (
        mosaic.open(folder / "cpu" / ROW / "network.nc") as network,
        mosaic.open(folder / "cpu" / ROW / "els.nc") as els,
    ):
        own, labels, state = network["image"].values, network["label"].values, network["state"].values[:, 0]
        level = mosaic.Level(float(network["signal"][0]), float(network["noise"][0]))
        image = first["image"].sel(row=ROW)
        np.testing.assert_array_equal(image.sel(first="gaussian", share=0), own)
        np.testing.assert_array_equal(image.sel(first="els", share=1), els["image"])
        r = mosaic.registry().make("metric", "pearson_r", {})(
            *(torch.from_numpy(run["image"].values) for run in (els, network))
        )
        np.testing.assert_allclose(first["pearson_r"].sel(row=ROW, first="els", share=1), r, rtol=1e-9)
    assert (labels >= 0).all()
    # Each sample has the Gaussian of its class.
    score = mosaic.score("gaussian", "digits", dataset_options={"limit": 30})
    closed = score.model.flow(torch.from_numpy(state), level, mosaic.Level(1.0, 0.0), torch.from_numpy(labels))
    np.testing.assert_allclose(image.sel(first="gaussian", share=1), closed, atol=1e-5)
    assert (first["pearson_r"].sel(share=0) > 1 - 1e-9).all()
    assert (first["mse"].sel(share=0) == 0).all()
    assert (first["edm_R2"].sel(skipped=0) == 1).all()
    median = first["edm_pearson_r"].sel(row=ROW, skipped=4)
    ends = [float(first[f"edm_pearson_r_{end}"].sel(row=ROW, skipped=4)) for end in ("median", "low", "high")]
    assert ends == list(interval_of(median.values))
    assert first["noise_to_signal"].sel(row=ROW).values[[0, -1]].tolist() == pytest.approx([level.ratio, 0])

    kept = folder / "cpu" / ROW / "gaussian-agreement.nc"
    kept.unlink()
    target = GaussianFirst(Study(ReproduceConfig(**SMALL, rows=ROW), folder / "cpu"))
    steps = {step.name: step.done for step in forecast_reproduction(target)}
    assert [name for name, done in steps.items() if not done] == [f"{ROW}: gaussian-agreement"]
    xr.testing.assert_equal(target.measure(), first.drop_attrs())
    records = json.loads(first.attrs["records"])
    assert records[f"{ROW}: gaussian-switched"]["network_fingerprint"]
    moved = kept.parent.parent.rename(tmp_path / "moved")  # paths are not what results rest on
    assert all(step.done for step in forecast_reproduction(GaussianFirst(Study(target.study.config, moved))))
    with pytest.raises(mosaic.UsageError, match="samples: 3, now 4"):
        forecast_reproduction(GaussianFirst(Study(target.study.config.model_copy(update={"samples": 4}), moved)))

    lines, rows = target.summary(first), first.sel(row=ROW)
    of_half = next(line for line in lines if line.startswith("   50%"))
    ratio, at = float(rows["noise_to_signal"].sel(share=0.5)), rows.sel(first="els", share=0.5)
    assert f"{ratio:.3g}" in of_half
    assert of_half.endswith(f"els {at['pearson_r_median']:.3f} [{at['pearson_r_low']:.3f}, {at['pearson_r_high']:.3f}]")
    assert largest_share(first["edm_pearson_r"].sel(row=ROW).values, np.array(SKIPPED), 0.95)[0] == pytest.approx(
        float(rows["largest_skipped"].sel(threshold=0.95))
    )
    assert sum("claimed" in line for line in lines) == 3
    colour = first.isel(channel=[0, 0, 0]).assign_coords(channel=range(3))  # of another row
    rows = {ROW: first.isel(row=0, drop=True), OTHER: colour.isel(row=0, drop=True)}
    together = joined(rows)
    assert together["image"].sel(row=ROW).isnull().any()
    figure = target.draw(together)
    check_readable(figure, side=0.4)
    assert pixels_of(figure.axes[4]).shape == (8, 8)
    assert pixels_of(figure.axes[4 + 18 + 4]).shape == (8, 8, 3)
    plain = figure.axes[2]
    drawn = next(line for line in plain.get_lines() if line.get_label() == "ELS").get_xydata()
    np.testing.assert_allclose(drawn, np.stack([SHARES, first["pearson_r_median"].sel(row=ROW, first="els")], 1))
    assert figure.axes[3].get_lines()[0].get_xdata().tolist() == list(SKIPPED)


def test_times_are_predicted_before_anything_is_there() -> None:
    target = GaussianFirst(Study(ReproduceConfig(**SMALL, rows=OTHER), Path("root")))
    steps = {step.name: step.seconds for step in forecast_reproduction(target, measure=True)}
    assert 0 < (steps[f"{OTHER}: gaussian-agreement"] or 0) < 60
    assert 0 < (steps[f"{OTHER}: gaussian-switched"] or 0) < 60
    assert not Path("root").exists()
