"""Figure 5c: limbs are counted, and late scales doubled."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable, pixels_of
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.paper.fig5c import LATE, Fig5c, _correlation, _limbs_of_class, bright_runs
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study


def test_bright_runs_are_counted_row_by_row() -> None:
    def image(*rows: str) -> np.ndarray:
        return np.array([[1.0 if pixel == "#" else -1.0 for pixel in row] for row in rows])[None, None]

    assert bright_runs(image("......", "......")).tolist() == [0]
    assert bright_runs(image("######", "##..##")).tolist() == [2]
    assert bright_runs(image("##.##.##", "#.#.#.#.")).tolist() == [3]
    assert bright_runs(image("#.#.#.##", "........")).tolist() == [1]


def test_fig5c_doubles_late_scales_only(folder: Path) -> None:
    actual = mosaic.reproduce("fig5c", out=folder, **SMALL)
    once, twice = (actual["scale"].sel(machine=name).values for name in ("calibrated", "doubled"))
    late = actual["time"].values < LATE
    assert late.sum() == 5
    assert (twice[late] == 2 * once[late] + 1).all()
    assert (twice[~late] == once[~late]).all()
    with xr.open_dataset(folder / "cpu" / "fashion-resnet-zeros" / "els-late-doubled.nc") as run:
        assert (actual["image"].sel(role="doubled").values == run["image"].values).all()
        assert (
            run["state"][:, 0].values
            == xr.open_dataset(run.encoding["source"].replace("-late-doubled", ""))["state"][:, 0].values
        ).all()
    assert actual["pearson_r"].sel(role="network").isnull().all()
    limbs = {role: bright_runs(actual["image"].sel(role=role).values) for role in ("calibrated", "doubled")}
    assert float(actual["saved"].sel(end="mean")) == np.mean(limbs["calibrated"] - limbs["doubled"])
    data = mosaic.registry().get("dataset", "digits")
    training = data(data.Options(limit=30)).load()
    for label, limb, excess in zip(actual["label"].values, limbs["doubled"], actual["excess"].values[2], strict=True):
        mine = bright_runs(training.images[training.labels == int(label)].numpy())
        assert excess == limb - mine.mean()


def test_a_run_is_bright_in_the_mean_of_its_channels() -> None:
    image = np.full((1, 3, 1, 5), -1.0)
    image[:, :2] = 0.6  # mean of 0.6, 0.6 and -1: just above 0
    assert bright_runs(image).tolist() == [1]
    image[:, 2] = -1.2
    assert bright_runs(image).tolist() == [0]


def test_limbs_of_a_class_are_the_mean_of_its_training_images(tiny: mosaic.DataSet) -> None:
    images = torch.randn(12, 1, 3, 14, generator=torch.Generator().manual_seed(0)).sign()
    limbs = bright_runs(images.numpy())
    assert len(set(limbs.tolist())) > 1
    dataset = replace(tiny, images=images)
    expected = [np.mean(limbs[label::3]) for label in (2, 0)]  # labels are 0, 1, 2, 0, ...
    assert _limbs_of_class(dataset, np.array([2, 0, -1])).tolist() == [*expected, limbs.mean()]
    without = replace(dataset, labels=None, classes=())
    assert _limbs_of_class(without, np.array([-1, -1])).tolist() == [limbs.mean()] * 2


def test_agreement_with_the_network_is_the_correlation_of_each_sample() -> None:
    images = np.random.default_rng(0).normal(size=(3, 5, 1, 4, 4))
    images[2] += images[0]
    actual = {name: np.asarray(values) for name, (_, values) in _correlation(images).items()}
    flat = images.reshape(3, 5, 16)
    expected = [[np.corrcoef(flat[role, n], flat[0, n])[0, 1] for n in range(5)] for role in (1, 2)]
    assert np.isnan(actual["pearson_r"][0]).all()
    np.testing.assert_allclose(actual["pearson_r"][1:], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(actual["pearson_r_median"][1:], np.median(expected, 1), rtol=0, atol=1e-12)
    for end, compare in (("low", np.less_equal), ("high", np.greater_equal)):
        assert compare(actual[f"pearson_r_{end}"][1:], actual["pearson_r_median"][1:]).all()
        assert np.isnan(actual[f"pearson_r_{end}"][0])


@pytest.fixture
def measured() -> xr.Dataset:
    """Four samples of two classes; the second has the most limbs, then the fourth."""
    rng = np.random.default_rng(0)
    ends = {f"excess_{end}": ("role", [0.1, 1.25, -0.5]) for end in ("mean", "low", "high")}
    return xr.Dataset(
        {
            "image": (("role", "sample", "channel", "height", "width"), rng.uniform(-1, 1, (3, 4, 1, 4, 4))),
            "limbs": (("role", "sample"), [[1, 1, 1, 1], [1, 5, 2, 3], [1, 1, 1, 1]]),
            "pearson_r": (("role", "sample"), [[np.nan] * 4, [0.1, 0.2, 0.3, 0.4], [0.5] * 4]),
            "pearson_r_median": ("role", [np.nan, 0.25, 0.5]),
            "saved": ("end", [1.75, 0.5, 3.0]),
            **ends,
        },
        {"role": ["network", "calibrated", "doubled"], "label": ("sample", [0, 1, -1, 0])},
        {"dataset_range": "[-1.0, 1.0]", "dataset_classes": '["shirt", "trousers"]'},
    )


def test_samples_are_drawn_by_their_limbs_at_calibrated_scales(measured: xr.Dataset) -> None:
    figure = Fig5c(Study(ReproduceConfig(), Path("root"))).draw(measured)
    check_readable(figure)
    axes = np.reshape(figure.axes, (3, 4))
    assert [axis.get_title() for axis in axes[0]] == ["trousers", "shirt", "sample 2", "shirt"]
    assert [axis.get_title() for axis in axes[1]] == ["r = 0.20", "r = 0.40", "r = 0.30", "r = 0.10"]
    expected = measured["image"].values[2, 3, 0]
    np.testing.assert_allclose(pixels_of(axes[2, 1]), (expected + 1) / 2, rtol=0, atol=1e-12)


def test_its_summary_says_what_doubling_saves_and_how_alike_the_images_are(measured: xr.Dataset) -> None:
    saved, alike = Fig5c(Study(ReproduceConfig(), Path("root"))).summary(measured)
    assert saved.endswith("1.75 [0.50, 3.00]")
    assert re.findall(r"0\.\d+", alike) == ["0.250", "0.500"]


def test_its_steps_end_with_the_run_at_doubled_scales() -> None:
    steps = Fig5c(Study(ReproduceConfig(**SMALL), Path("root"))).steps()
    assert steps[-1].name == "fashion-resnet-zeros: els-late-doubled"
    assert steps[-1].rests_on is not None
    assert steps[-1].rests_on.name == "fashion-resnet-zeros: calibrate"
