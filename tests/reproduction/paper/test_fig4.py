"""Figure 4: receptive fields of networks, and how wide they are."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable, pixels_of
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.paper.fig4 import Fig4
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields from four images, which are as wide as those from many."""
    monkeypatch.setattr("mosaic.reproduction.paper.fig4.receptive_field", partial(mosaic.receptive_field, images=4))


def test_fig4_shows_the_fields_of_the_row(folder: Path) -> None:
    actual = mosaic.reproduce("fig4", ["fashion-resnet-zeros"], out=folder, **SMALL)
    assert actual["field"].shape == (1, 20, 8, 8)
    assert (actual["field_width"] <= 7).all()  # one block: 7 pixels
    assert actual["field"].values[0, :, 0].max() == 0  # row 0 is 4 from the centre
    with xr.open_dataset(folder / "cpu" / "fashion-resnet-zeros" / "scales.nc") as scales:
        assert actual["scale"].values[0].tolist() == scales["scale"].values[::-1].tolist()
    assert actual["paper"].values[0, -1] == 17


def test_fig4_shows_the_fields_of_a_network_that_is_there(tiny: mosaic.DataSet, folder: Path) -> None:
    """ELS stands in for it: its fields end at its windows, and the scales that fit it are its own."""
    scales = [3] * 10 + [5] * 10
    els = mosaic.score("els", tiny, scales=scales)
    settings: dict[str, Any] = {"calibration_samples": 2, "progress": False}
    actual = mosaic.reproduce("fig4", network=els, out=folder, **settings)
    assert actual["row"].values.tolist() == ["network"]
    assert actual["scale"].values[0].tolist() == scales
    for width, k in zip(actual["field_width"].values[0].tolist(), scales, strict=True):
        assert width <= k
    assert np.isnan(actual["paper"].values).all()
    again = mosaic.reproduce("fig4", network=els, out=folder, **settings)
    assert again["field"].equals(actual["field"])
    with pytest.raises(mosaic.UsageError, match=r"network\.score"):
        mosaic.reproduce("fig4", network=mosaic.score("is", tiny), out=folder, **settings)


def test_fig4_takes_the_folder_of_a_checkpoint(tiny_file: Path, folder: Path, invoke: Any) -> None:
    options = {"channels": 4, "blocks": 0}
    data = {"dataset_options": {"path": str(tiny_file)}}
    mosaic.train("resnet", "file", out="net", epochs=1, network_options=options, batch_size=4, **data)
    given = ("reproduce", "fig4", "--network", "net", "--calibration-samples", 1, "--out", folder)
    result = invoke(*given)
    assert result.exit_code == 0, result.stderr
    with xr.open_dataset(folder / "cpu" / "fig4.nc") as stored:
        assert (stored["field_width"] <= 5).all()
        assert stored["scale"].max() <= 5
    assert "done" in invoke(*given, "--dry-run").stderr


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("table2", {}),
        ("fig4", {"rows": "mnist-unet-zeros"}),
        ("fig4", {"epochs": 3}),
        ("fig4", {"precision": "bfloat16"}),
    ],
)
def test_what_a_network_that_is_there_leaves_unused_is_refused(
    tiny: mosaic.DataSet, name: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(mosaic.UsageError, match="`network`"):
        mosaic.reproduce(name, network=mosaic.score("els", tiny), out="out", **settings)


@pytest.fixture
def measured() -> xr.Dataset:
    """Fields of two rows at eleven times, as wide as the time's number."""
    times = np.linspace(0, 1, 11)
    rng = np.random.default_rng(0)
    scale = np.tile(np.arange(11.0), (2, 1))
    return xr.Dataset(
        {
            "field": (("row", "time", "height", "width"), rng.random((2, 11, 5, 6)) + 0.1),
            "field_width": (("row", "time"), 2 * scale + 1),
            "scale": (("row", "time"), scale),
            "scale_q25": (("row", "time"), scale - 1),
            "scale_q75": (("row", "time"), scale + 2),
            "paper": (("row", "time"), np.stack([scale[0] + 0.5, np.full(11, np.nan)])),
        },
        {"row": ["a", "b"], "time": times},
    )


def test_its_summary_has_six_times_from_the_first_to_the_last(measured: xr.Dataset) -> None:
    lines = Fig4(Study(ReproduceConfig(), Path("root"))).summary(measured)
    assert [line.partition(",")[0] for line in lines] == ["a"] * 6 + ["b"] * 6
    numbers = [[float(n) for n in re.findall(r"t = ([0-9.]+):.* in ([0-9]+) .* k ([0-9]+)", line)[0]] for line in lines]
    assert numbers[:6] == numbers[6:] == [[t / 10, 2 * t + 1, t] for t in (0, 2, 4, 6, 8, 10)]
    assert lines[0].endswith("0.5")
    assert lines[6].endswith("k 0")


def test_fields_are_drawn_as_shares_of_their_largest_value(measured: xr.Dataset, tmp_path: Path) -> None:
    measured["field"].values[1, 4, 0, 0] = 0
    figure = Fig4(Study(ReproduceConfig(), Path("root"))).draw(measured)
    drawn = [pixels_of(axis) for axis in figure.axes if axis.get_images()]
    assert len(drawn) == 12
    field = measured["field"].values[1, 4]
    np.testing.assert_allclose(drawn[6 + 2], np.maximum(field / field.max(), 1e-3))
    check_readable(figure)


@pytest.mark.parametrize("rows", [["a", "b"], ["b", "a"], ["b"]])
def test_scales_of_the_paper_are_drawn_where_there_are_some(measured: xr.Dataset, rows: list[str]) -> None:
    figure = Fig4(Study(ReproduceConfig(), Path("root"))).draw(measured.sel(row=rows))
    axes = {axis.get_title(): axis for axis in figure.axes if axis.get_xlabel()}
    assert [len(axes[row].lines) for row in rows] == [3 if row == "a" else 2 for row in rows]
    legend = axes[rows[0]].get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == (3 if "a" in rows else 2)
    assert any("paper" in label for label in labels) == ("a" in rows)
