"""The table and the figures: what they measure is right."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from small_reproduction import SMALL, same

import mosaic
from mosaic.reproduction.paper.fig3 import in_the_majority
from mosaic.reproduction.paper.fig4 import beside_the_centre, receptive_field, width_of
from mosaic.reproduction.paper.fig5c import LATE, bright_runs
from mosaic.reproduction.paper.memorization import FACTORS, multiplied
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import ROWS
from mosaic.reproduction.study.study import Study


@pytest.mark.parametrize("boundary", ["circular", "zeros"])
def test_the_majority_of_a_window_by_counting(boundary: str) -> None:
    images = np.random.default_rng(0).choice([-1.0, -0.995, 0.4, 1.0], (2, 1, 4, 5))
    actual, alike = (in_the_majority(images, boundary, by_sign) for by_sign in (False, True))
    for b, i, j in np.ndindex(2, 4, 5):
        window = [(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)]
        if boundary == "circular":
            window = [(row % 4, col % 5) for row, col in window]
        votes = sum(np.sign(images[b, 0, row, col]) for row, col in window if 0 <= row < 4 and 0 <= col < 5)
        value = images[b, 0, i, j]
        colour = np.sign(votes) if votes else np.sign(value)
        assert actual[b, 0, i, j] == (abs(value - colour) <= 1e-2)
        assert alike[b, 0, i, j] == (np.sign(value) == colour)


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
            one = 3 * x[:, :1] - 2 * x[:, :1].roll(-1, 3)
            return one.expand(-1, 2, -1, -1)

    field = receptive_field(Linear(), torch.randn(3, 2, 5, 4), 0.5, None)
    expected = torch.zeros(5, 4, dtype=torch.float64)
    expected[2, 2], expected[2, 3] = 1.5, 1.0  # halved: the derivatives by channel 1 are zero
    assert torch.equal(field, expected)
    assert width_of(expected.numpy(), 0.6) == 1
    assert width_of(expected.numpy(), 0.61) == 3


def test_bright_runs_are_counted_row_by_row() -> None:
    def image(*rows: str) -> np.ndarray:
        return np.array([[1.0 if pixel == "#" else -1.0 for pixel in row] for row in rows])[None, None]

    assert bright_runs(image("......", "......")).tolist() == [0]
    assert bright_runs(image("######", "##..##")).tolist() == [2]
    assert bright_runs(image("##.##.##", "#.#.#.#.")).tolist() == [3]
    assert bright_runs(image("#.#.#.##", "........")).tolist() == [1]


def test_multiplied_scales_are_the_nearest_odd_numbers() -> None:
    for k, factor in itertools.product(range(1, 19, 2), FACTORS):
        (actual,) = multiplied([k], factor)
        odd = [n for n in range(1, 99, 2) if abs(n - k * factor) == min(abs(m - k * factor) for m in range(1, 99, 2))]
        assert actual == max(odd)


def test_the_attention_row_uses_the_scales_of_the_resnet_of_the_same_settings() -> None:
    settings = {**SMALL, "dataset_options": {"limit": 20}, "epochs": 1, "network_options": {}}
    row = ROWS["cifar10-unet-attention"]
    experiment = Experiment(row, Study(ReproduceConfig(**settings), Path("root")))
    scales = experiment.calibrate()
    assert scales == Path("root/cifar10-resnet-zeros/scales.nc")
    assert experiment.run_config("els", str(scales)).scales == str(scales)
    other = Experiment(row, Study(ReproduceConfig(**{**settings, "seed": 1}), Path("root")))
    with pytest.raises(mosaic.UsageError, match="seed: 0, now 1"):
        other.calibrate()


def test_every_variable_of_a_reproduction_has_a_name_and_units(folder: Path) -> None:
    row = ["fashion-resnet-zeros"]
    for name, rows in (("table2", row), ("fig4", row), ("fig5c", row)):
        actual = mosaic.reproduce(name, rows, out=folder, **SMALL)
        assert actual.attrs["schema"] == "mosaic-reproduction/1"
        for key, variable in actual.variables.items():
            assert variable.attrs["long_name"], key
            assert variable.attrs["units"] in ("1", "pixel"), key
        records = json.loads(actual.attrs["records"])
        assert records["fashion-resnet-zeros: train"]["configuration"]["epochs"] == 2
        assert records["fashion-resnet-zeros: calibrate"]["configuration"]["samples"] == 2
        if name != "fig4":
            assert records["fashion-resnet-zeros: els"]["configuration"]["seed"] == 0
            assert records["fashion-resnet-zeros: els"]["versions"]["torch"] == torch.__version__


def test_fig3_rises_with_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.reproduction.paper.fig3.STEPS", (5, 20))
    monkeypatch.setattr("mosaic.reproduction.paper.fig3.SAMPLES", 2)
    actual = mosaic.reproduce("fig3", out="out")
    shares = actual["share"].mean("sample").sel(boundary="circular").values
    assert 0.95 < shares[0] < shares[1] <= 1
    assert actual["image"].shape == (2, 2, 2, 1, 32, 32)
    assert (actual["share_by_sign"] >= actual["share"]).all()
    assert ((actual["share_by_sign"] - actual["share"]).sel(steps=5) > 0).all()  # few steps leave grey pixels
    stored = xr.open_dataset("out/cpu/fig3.nc")
    same(stored, actual)
    assert (Path("out/cpu/fig3.png")).stat().st_size > 5000


def test_fig4_shows_the_fields_of_the_row(folder: Path) -> None:
    actual = mosaic.reproduce("fig4", ["fashion-resnet-zeros"], out=folder, **SMALL)
    assert actual["field"].shape == (1, 20, 8, 8)
    assert (actual["width"] <= 7).all()  # one block: 7 pixels
    assert actual["field"].values[0, :, 0].max() == 0  # row 0 is 4 from the centre
    with xr.open_dataset(folder / "cpu" / "fashion-resnet-zeros" / "scales.nc") as scales:
        assert actual["scale"].values[0].tolist() == scales["scale"].values[::-1].tolist()
    assert actual["paper"].values[0, -1] == 17


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


def test_memorization_ends_in_copies(folder: Path) -> None:
    actual = mosaic.reproduce("memorization", ["fashion-resnet-zeros"], out=folder, **SMALL)
    assert actual["factor"].values.tolist() == list(FACTORS)
    share, distance = (actual[name].median("sample") for name in ("share", "nearest_train"))
    assert share.sel(factor=3.0) > share.sel(factor=1.0)  # 3 x k covers nearly all of 8 x 8 pixels
    assert distance.sel(factor=3.0) < distance.sel(factor=1.0)
    assert ((actual["share"] > 0) & (actual["share"] <= 1)).all()
    assert (actual["n_eff"] >= 1).all()
    assert actual["k"].values[0].tolist() == multiplied(actual["k"].values[1].tolist(), 0.5)
    assert float(actual["between_training"]) > 0
