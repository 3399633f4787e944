"""Circular networks beside ELS with two boundaries: the numbers of each, and what is used again, refused and said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable
from small_reproduction import same

import mosaic
from mosaic.evaluate.statistics import interval_of
from mosaic.interfaces.data_source import DataAccess
from mosaic.registry.data import load_dataset
from mosaic.reproduction.circular.boundaries import BOUNDARIES, MACHINES, Boundaries
from mosaic.reproduction.circular.circular import Circular
from mosaic.reproduction.reproduce import forecast_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.study import Study
from mosaic.sampling.scales import PAPER_SCALES

ROW = "mnist-resnet-circular"
FILES = {("circular", "calibrated"): "els", ("valid", "calibrated"): "els-valid"}
FILES |= {("circular", "published"): "els-published", ("valid", "published"): "els-valid-published"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings: digits of 16 x 16 pixels, as windows of 15 pixels must fit in."""
    digits = load_dataset("digits", {"limit": 12}, DataAccess())
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, images=np.kron(digits.images.numpy(), np.ones((1, 1, 2, 2), np.float32)))
    return {
        "dataset": "file",
        "dataset_options": {"path": str(path), "limit": 10},
        "network_options": {"channels": 4, "blocks": 1},
        "epochs": 2,
        "samples": 3,
        "calibration_samples": 2,
    }


@pytest.fixture(scope="module")
def folder(small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("circular")
    mosaic.reproduce("circular", out=folder, **small)
    return folder / "cpu"


@pytest.fixture(scope="module")
def measured(folder: Path) -> xr.Dataset:
    return xr.load_dataset(folder / "circular.nc")


def target(small: dict[str, Any], folder: Path, **settings: Any) -> Circular:
    return Circular(Study(ReproduceConfig(**small, **settings), folder))


def correlation(folder: Path, stem: str, reference: str) -> list[float]:
    images = [mosaic.open(folder / f"{name}.nc")["image"].values for name in (stem, reference)]
    return [np.corrcoef(own.ravel(), other.ravel())[0, 1] for own, other in zip(*images, strict=True)]


def test_each_boundary_at_each_scales_is_compared_with_the_network(folder: Path, measured: xr.Dataset) -> None:
    row = measured.sel(row=ROW)
    for (boundary, machine), stem in FILES.items():
        own = row.sel(boundary=boundary, machine=machine)
        r = correlation(folder / ROW, stem, "network")
        np.testing.assert_allclose(own["pearson_r"], r, rtol=1e-5)
        expected = interval_of(own["pearson_r"].values)
        assert [float(own[f"pearson_r_{end}"]) for end in ("median", "low", "high")] == list(expected)
        with mosaic.open(folder / ROW / f"{stem}.nc") as run:
            scales = row["paper"] if machine == "published" else row["scale"].sel(boundary=boundary)
            assert run["scale"].values[::-1].tolist() == scales.values.tolist()
            assert boundary in run.attrs["configuration"]
    for machine in MACHINES:
        r = row["pearson_r"].sel(machine=machine)
        gained = (r.sel(boundary="valid") - r.sel(boundary="circular")).values
        assert row["valid_gain"].sel(machine=machine).values.tolist() == list(interval_of(gained))
    assert row["paper"].values.tolist() == list(PAPER_SCALES[ROW])
    assert row["time"].values.tolist() == pytest.approx([step / 20 for step in range(1, 21)])


@pytest.mark.filterwarnings("ignore:The best scale is")
def test_scales_are_calibrated_as_the_command_does(folder: Path, measured: xr.Dataset) -> None:
    network, row = folder / ROW / "network", measured.sel(row=ROW)
    for boundary, file in (("circular", "scales.nc"), ("valid", "scales-valid.nc")):
        made = mosaic.calibrate(network, score_options={"boundary": boundary}, samples=2, seed=1)
        same(made, xr.open_dataset(folder / ROW / file))
        scale = row.sel(boundary=boundary)["scale"].values
        assert scale.tolist() == made["scale"].values[::-1].tolist()
        assert int(row["scales_equal"].sel(boundary=boundary)) == sum(
            one == other for one, other in zip(scale, PAPER_SCALES[ROW], strict=True)
        )


@pytest.mark.filterwarnings("ignore:The best scale is")
def test_valid_is_calibrated_on_exact_circular_els(small: dict[str, Any], folder: Path, measured: xr.Dataset) -> None:
    row, scales = measured.sel(row=ROW), list(PAPER_SCALES["mnist-resnet-zeros"])
    shared: dict[str, Any] = {"dataset_options": small["dataset_options"], "scales": scales}
    ideal = mosaic.run("els", "file", score_options={"boundary": "circular"}, samples=3, **shared)
    same(ideal, xr.open_dataset(folder / ROW / "ideal.nc"))
    made = mosaic.calibrate(
        mosaic.score("els", "file", boundary="circular", **shared),
        score_options={"boundary": "valid"},
        sizes="3-7",  # the receptive field of so small a network
        samples=2,
        seed=1,
    )
    same(made, xr.open_dataset(folder / ROW / "scales-ideal.nc"))
    assert row["ideal_scale"].values.tolist() == made["scale"].values[::-1].tolist()
    assert int(row["ideal_scales_equal"]) == (row["ideal_scale"].values == np.array(PAPER_SCALES[ROW])).sum()
    r = [correlation(folder / ROW, f"ideal-{boundary}", "ideal") for boundary in BOUNDARIES]
    np.testing.assert_allclose(row["ideal_pearson_r"], r, rtol=1e-5)
    gained = (row["ideal_pearson_r"].sel(boundary="valid") - row["ideal_pearson_r"].sel(boundary="circular")).values
    assert row["ideal_valid_gain"].values.tolist() == list(interval_of(gained))
    for boundary in BOUNDARIES:
        with mosaic.open(folder / ROW / f"ideal-{boundary}.nc") as run:
            assert run["scale"].values[::-1].tolist() == row["ideal_scale"].values.tolist()


def test_the_usual_results_of_the_row_are_used(small: dict[str, Any], folder: Path) -> None:
    own = Experiment(row_named(ROW), Study(ReproduceConfig(**small), folder))
    config = Boundaries(own).config("circular", "calibrated")
    assert own.run_job("els", config).is_done()
    assert own.run_job("els", own.calibrated_config("els")).is_done()
    assert own.calibration_job().is_done()
    assert all(step.done for step in forecast_reproduction(target(small, folder)))


def test_what_it_will_do_is_predicted(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.reproduction.study.steps.LONG_ENOUGH", 0.05)
    steps = {step.name.partition(": ")[2]: step for step in forecast_reproduction(target(small, Path("new")), True)}
    machines = ["calibrate", "calibrate valid", "calibrate ideal", "els", *FILES.values(), "ideal", "ideal-valid"]
    assert steps.keys() == {"train", "network", "ideal-circular", *machines}
    assert all((steps[name].seconds or 0) > 0 for name in ("train", *machines))
    assert not Path("new").exists()


def test_other_rows_are_refused(small: dict[str, Any]) -> None:
    with pytest.raises(mosaic.UsageError, match=r"mnist-resnet-circular.*mnist-resnet-zeros"):
        target(small, Path("new"), rows="mnist-resnet-circular,mnist-resnet-zeros")


def test_it_says_and_draws_what_it_measured(small: dict[str, Any], folder: Path, measured: xr.Dataset) -> None:
    lines, row = target(small, folder).summary(measured), measured.sel(row=ROW)
    numbers = [[float(number) for number in re.findall(r"-?\d\.\d{3}", line)] for line in lines]
    for line, machine in enumerate(MACHINES):
        ends = [row[f"pearson_r_{end}"].sel(machine=machine).values for end in ("median", "low", "high")]
        expected = [*np.array(ends).T.ravel(), *row["valid_gain"].sel(machine=machine).values]
        assert numbers[line] == pytest.approx(expected, abs=6e-4)
    ends = [row[f"ideal_pearson_r_{end}"].values for end in ("median", "low", "high")]
    assert numbers[-1] == pytest.approx([*np.array(ends).T.ravel(), *row["ideal_valid_gain"].values], abs=6e-4)
    assert f"{int(row['ideal_scales_equal'])} of 20" in lines[-2]
    figure = target(small, folder).draw(measured)
    left, right = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    np.testing.assert_array_equal(drawn["published scales"], row["paper"])
    np.testing.assert_array_equal(drawn["valid"], row["scale"].sel(boundary="valid"))
    points = [line.get_ydata() for line in right.get_lines() if line.get_marker() == "o"]
    expected = np.c_[row["pearson_r_median"].values, row["ideal_pearson_r_median"].values]
    np.testing.assert_allclose(points, expected)
    check_readable(figure)
