"""Figure 4: receptive fields of networks, and how wide they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from drawings import check_readable, pixels_of
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.paper.fig4 import Fig4, beside_the_centre, receptive_field, width_of
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study


@pytest.mark.parametrize("blocks", [0, 2])
def test_the_receptive_field_of_a_resnet_ends_where_it_must(blocks: int) -> None:
    network = mosaic.registry().get("network", "resnet")
    module = network(network.Options(channels=4, blocks=blocks)).build(1, 0)
    field = receptive_field(module, torch.randn(2, 1, 31, 31), 0.5, None).numpy()
    reach = blocks + 2
    rows, cols = np.nonzero(field)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (15 - reach, 15 + reach, 15 - reach, 15 + reach)
    assert width_of(field, 1.0) == width_of(beside_the_centre(field), 1.0) == 2 * reach + 1
    assert width_of(field**2, 0.95) <= width_of(beside_the_centre(field) ** 2, 0.95)
    assert beside_the_centre(field)[15, 15] == 0 != field[15, 15]
    assert np.delete(beside_the_centre(field).ravel(), 15 * 32).tolist() == np.delete(field.ravel(), 15 * 32).tolist()


def test_the_receptive_field_is_the_mean_absolute_derivative() -> None:
    class Linear(torch.nn.Module):
        """eps = 3 x(p) - 2 x(right of p), from channel 0 into both channels."""

        def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
            eps = 3 * x[:, :1] - 2 * x[:, :1].roll(-1, 3)
            return eps.expand(-1, 2, -1, -1)

    field = receptive_field(Linear(), torch.randn(3, 2, 5, 4), 0.5, None)
    expected = torch.zeros(5, 4, dtype=torch.float64)
    expected[2, 2], expected[2, 3] = 1.5, 1.0  # halved: the derivatives by channel 1 are zero
    assert torch.equal(field, expected)
    assert width_of(expected.numpy(), 0.6) == 1
    assert width_of(expected.numpy(), 0.61) == 3


def test_fig4_shows_the_fields_of_the_row(folder: Path) -> None:
    actual = mosaic.reproduce("fig4", ["fashion-resnet-zeros"], out=folder, **SMALL)
    assert actual["field"].shape == (1, 20, 8, 8)
    assert (actual["width"] <= 7).all()  # one block: 7 pixels
    assert actual["field"].values[0, :, 0].max() == 0  # row 0 is 4 from the centre
    with xr.open_dataset(folder / "cpu" / "fashion-resnet-zeros" / "scales.nc") as scales:
        assert actual["scale"].values[0].tolist() == scales["scale"].values[::-1].tolist()
    assert actual["paper"].values[0, -1] == 17


def test_the_width_of_known_fields() -> None:
    """A single pixel has width 1; of a uniform field of 7 x 7 pixels, 25 of 49 are 51 %, and 95 % need all."""
    point = np.zeros((7, 7))
    point[3, 3] = 2.0
    assert width_of(point, 0.95) == 1
    assert width_of(point, 1.0) == 1
    uniform = np.full((7, 7), 0.3)
    assert [width_of(uniform, share) for share in (1 / 49, 9 / 49, 25 / 49, 0.52, 0.95)] == [1, 3, 5, 7, 7]
    assert width_of(7e9 * uniform, 25 / 49) == 5  # a share has no units


def test_the_width_by_adding_squares() -> None:
    share = 0.8
    field = np.random.default_rng(0).random((8, 9)) ** 4
    for side in range(1, 10, 2):
        r = side // 2
        held = field[max(0, 4 - r) : 4 + r + 1, max(0, 4 - r) : 4 + r + 1].sum()
        assert (held >= share * field.sum()) == (width_of(field, share) <= side)


@pytest.fixture
def measured() -> xr.Dataset:
    """Fields of two rows at eleven times, as wide as the time's number."""
    times = np.linspace(0, 1, 11)
    rng = np.random.default_rng(0)
    scale = np.tile(np.arange(11.0), (2, 1))
    return xr.Dataset(
        {
            "field": (("row", "time", "height", "width"), rng.random((2, 11, 5, 6)) + 0.1),
            "width": (("row", "time"), 2 * scale + 1),
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
    assert lines[6].endswith("nan")


def test_fields_are_drawn_as_shares_of_their_largest_value(measured: xr.Dataset, tmp_path: Path) -> None:
    measured["field"].values[1, 4, 0, 0] = 0
    figure = Fig4(Study(ReproduceConfig(), Path("root"))).draw(measured)
    drawn = [pixels_of(axis) for axis in figure.axes if axis.get_images()]
    assert len(drawn) == 12
    field = measured["field"].values[1, 4]
    np.testing.assert_allclose(drawn[6 + 2], np.maximum(field / field.max(), 1e-3))
    check_readable(figure)
