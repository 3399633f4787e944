"""Figure 6: the network with attention beside the theories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable, pixels_of
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.paper.fig6 import Fig6
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study


def test_fig6_shows_the_attention_network_beside_the_theories() -> None:
    settings = {**SMALL, "dataset_options": {"limit": 20}, "epochs": 1, "samples": 2, "network_options": {}}
    settings["network_options"] = {"channels": [4, 8]}
    actual = mosaic.reproduce("fig6", out="out", **settings)
    assert actual["role"].values.tolist() == ["network", "ELS", "LS", "IS"]
    row = Path("out/cpu/cifar10-unet-attention")
    compared = mosaic.compare(mosaic.open(row / "els.nc"), mosaic.open(row / "network.nc"), metrics=["pearson_r"])
    assert actual["pearson_r"].sel(role="ELS").values.tolist() == compared["pearson_r"][0].values.tolist()
    with xr.open_dataset("out/cpu/cifar10-resnet-zeros/scales.nc") as scales:
        assert mosaic.open(row / "els.nc")["scale"].values.tolist() == scales["scale"].values.tolist()


@pytest.fixture
def measured() -> xr.Dataset:
    """Twelve samples; a quarter of the network's pixels lie outside the range."""
    images = np.random.default_rng(0).uniform(-1, 1, (4, 12, 3, 2, 4))
    images[0, ..., 0] = 1.5
    ends = {
        f"pearson_r_{end}": ("role", [np.nan, 0.7 + off, 0.6 + off, 0.5 + off])
        for end, off in (("median", 0.0), ("low", -0.1), ("high", 0.1))
    }
    return xr.Dataset(
        {
            "image": (("role", "sample", "channel", "height", "width"), images),
            "pearson_r": (("role", "sample"), np.concatenate([np.full((1, 12), np.nan), np.full((3, 12), 0.5)])),
            **ends,
        },
        {"role": ["network", "ELS", "LS", "IS"], "label": ("sample", [1, -1] * 6)},
        {"dataset_range": "[-1.0, 1.0]", "dataset_classes": '["cat", "dog"]', "title_of_row": "CIFAR10 UNet+SA"},
    )


def test_its_summary_says_medians_and_pixels_that_no_image_could_have(measured: xr.Dataset) -> None:
    els, ls, ideal, outside = Fig6(Study(ReproduceConfig(), Path("root"))).summary(measured)
    assert els.endswith("ELS: 0.700 [0.600, 0.800]")
    assert ls.endswith("LS: 0.600 [0.500, 0.700]")
    assert ideal.endswith("IS: 0.500 [0.400, 0.600]")
    assert outside.endswith(" 0.25")


def test_the_first_ten_samples_are_drawn_with_their_classes(measured: xr.Dataset) -> None:
    figure = Fig6(Study(ReproduceConfig(), Path("root"))).draw(measured)
    check_readable(figure)
    axes = np.reshape(figure.axes, (4, 10))
    assert [axis.get_title() for axis in axes[0]] == ["dog", ""] * 5
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["network", "ELS", "LS", "IS"]
    expected = np.moveaxis(np.clip((measured["image"].values[0, 9] + 1) / 2, 0, 1), 0, -1)
    np.testing.assert_allclose(pixels_of(axes[0, 9]), expected, rtol=0, atol=1e-12)
