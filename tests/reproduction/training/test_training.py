"""More passes and more images: each network and run against what the commands make, and what is said and drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable
from small_reproduction import same

import mosaic
from mosaic.evaluate.statistics import interval_of
from mosaic.reproduction.reproduce import forecast_reproduction
from mosaic.reproduction.study import steps
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.training import networks, picture, row, training
from mosaic.reproduction.training.networks import ALL, IMAGES, PASSES, Point, samples_of
from mosaic.reproduction.training.row import THEORIES
from mosaic.reproduction.training.training import Training

ROW = "mnist-resnet-zeros"
SMALL: dict[str, Any] = {
    "dataset": "digits",
    "dataset_options": {"limit": 32},
    "network_options": {"channels": 4, "blocks": 0},
    "epochs": 4,
    "samples": 3,
    "calibration_samples": 2,
}
# Folder of each network, and that of the theories at the row's scales.
FOLDERS = {"1/4 of the passes": ("epochs-1", ""), "1/4 of the images": ("images-8", "images-8"), "all": ("", "")}


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Three networks in place of all, and short measurements of how long they take to train."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (picture, row, training):
            patch.setattr(module, "POINTS", (Point(PASSES, 4), Point(IMAGES, 4), ALL))
        patch.setattr(steps, "LONG_ENOUGH", 0.05)
        yield


@pytest.fixture(scope="module")
def folder(few: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    mosaic.reproduce("training", out=folder, **SMALL)
    return folder / "cpu" / ROW


@pytest.fixture(scope="module")
def measured(folder: Path) -> xr.Dataset:
    return xr.load_dataset(folder.parent / "training.nc")


def target(folder: Path, **settings: Any) -> Training:
    return Training(Study(ReproduceConfig(**{**SMALL, **settings}), folder))


def images_in(file: Path) -> np.ndarray:
    with mosaic.open(file) as run:
        return np.asarray(run["image"].values)


def correlation(first: np.ndarray, second: np.ndarray) -> list[float]:
    return [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(first, second, strict=True)]


def files_of(folder: Path, network: str) -> dict[str, Path]:
    own, beside = FOLDERS[network]
    scaled = "{}-row-scales.nc" if beside else "{}.nc"
    files = {name: folder / beside / scaled.format(name) for name in ("els", "ls")}
    return {"els-own-scales": folder / own / "els.nc", **files} | {
        name: folder / beside / f"{name}.nc" for name in ("is", "gaussian")
    }


def test_passes_and_images_are_geometric_series_up_to_the_rows_own() -> None:
    passes = [f"1/{divisor} of the passes" for divisor in (64, 16, 4)]
    assert [point.name for point in networks.POINTS] == [*passes, "1/16 of the images", "1/4 of the images", "all"]


def test_theories_are_compared_with_each_network_and_with_els(folder: Path, measured: xr.Dataset) -> None:
    row = measured.sel(row=ROW)
    assert row["network"].values.tolist() == list(FOLDERS)
    whole = row["pearson_r"].sel(network="all")
    for name, (own, _) in FOLDERS.items():
        network, files = images_in(folder / own / "network.nc"), files_of(folder, name)
        els = images_in(files["els"])
        for theory in THEORIES:
            at, image = row.sel(network=name, theory=theory), images_in(files[theory])
            np.testing.assert_allclose(at["pearson_r"], correlation(image, network), atol=1e-5)
            ends = [float(at[f"pearson_r_{end}"]) for end in ("median", "low", "high")]
            assert ends == list(interval_of(at["pearson_r"].values))
            rise = interval_of((whole.sel(theory=theory) - at["pearson_r"]).values)
            assert at["rise"].values.tolist() == list(rise)
            if theory == "els":
                assert at["pearson_r_with_els"].isnull().all()
                continue
            np.testing.assert_allclose(at["pearson_r_with_els"], correlation(image, els), atol=1e-5)
            excess = interval_of((at["pearson_r_with_els"] - at["pearson_r"]).values)
            assert at["pearson_r_excess"].values.tolist() == list(excess)


def test_theories_depend_on_the_network_at_their_own_scales_only(folder: Path) -> None:
    scales = {name: xr.open_dataset(folder / name / "scales.nc")["scale"].values for name in ("", "images-8")}
    for stem, owner in (("els", "images-8"), ("els-row-scales", ""), ("ls-row-scales", "")):
        with mosaic.open(folder / "images-8" / f"{stem}.nc") as run:
            assert run["scale"].values.tolist() == scales[owner].tolist()
    made = mosaic.run(
        "ls", "digits", dataset_options={"limit": 8}, scales=folder / "scales.nc", samples=3, labels="none"
    )
    same(made, xr.open_dataset(folder / "images-8" / "ls-row-scales.nc"))


@pytest.mark.parametrize(("name", "epochs", "limit"), [("epochs-1", 1, 32), ("images-8", 4, 8)])
def test_each_network_is_a_training_of_its_own(
    folder: Path, measured: xr.Dataset, name: str, epochs: int, limit: int
) -> None:
    """One batch holds all of the images, so that as many passes are as many steps."""
    options = {"channels": 4, "blocks": 0, "padding": "zeros"}
    data = {"dataset": "digits", "dataset_options": {"limit": limit}, "network_options": options}
    made = mosaic.train("resnet", out="net", **data, epochs=epochs, batch_size=32, learning_rate=1e-3)
    assert made.fingerprint() == mosaic.load_checkpoint(folder / name / "network").fingerprint()
    network = next(network for network, folders in FOLDERS.items() if folders[0] == name)
    at = measured.sel(row=ROW, network=network)
    assert (int(at["epochs"]), int(at["images"])) == (epochs, limit)


def test_fewer_images_are_seen_more_often_in_as_many_steps(measured: xr.Dataset) -> None:
    own = target(Path("new"), epochs=20, dataset_options={"limit": 100})
    assert {step.name.partition(": ")[0] for step in own.steps()} == {ROW, f"{ROW}/epochs-5", f"{ROW}/images-25"}
    few = Experiment(row_named(ROW), own.study).load_plan()
    assert few.steps == 20 * 4  # 100 images in batches of 32
    job: Any = next(step for step in own.steps() if step.name == f"{ROW}/images-25: train").job()
    assert (job.plan.config.epochs, len(job.plan.dataset), job.plan.steps) == (80, 25, 80)


def test_errors_have_means_and_paired_changes(measured: xr.Dataset) -> None:
    row = measured.sel(row=ROW)
    errors = row["equivariance_error_interior"]
    assert errors.dims == ("network", "time", "noisy_sample")
    assert errors.sizes["noisy_sample"] == 8  # the fewest images, which all networks know
    known = errors.isel(time=-1)
    assert known.notnull().all()
    for name in FOLDERS:
        own = [
            float(row[f"equivariance_error_interior_{end}"].sel(network=name).isel(time=-1))
            for end in ("mean", "low", "high")
        ]
        assert own == list(interval_of(known.sel(network=name).values, "mean"))
        change = interval_of((known.sel(network="all") - known.sel(network=name)).values, "mean")
        assert row["equivariance_rise"].sel(network=name).isel(time=-1).values.tolist() == list(change)
    of_theories = row["theory_error_interior"].isel(time=-1)
    assert of_theories.sel(theory=["els", "els-own-scales"]).isnull().all()
    assert (of_theories.sel(theory=["ls", "is", "gaussian"]) > 1e-3).all()


def test_what_is_done_is_used_again_and_the_rest_predicted(folder: Path) -> None:
    assert all(step.done for step in forecast_reproduction(target(folder.parent)))
    forecasts = {step.name: step for step in forecast_reproduction(target(Path("new")), measure=True)}
    predicted = ("train", "calibrate", "els", "is", "ls")
    for name in (ROW, f"{ROW}/images-8"):
        stems = [f"{stem}-row-scales" if name != ROW and stem == "ls" else stem for stem in predicted]
        assert all((forecasts[f"{name}: {stem}"].seconds or 0) > 0 for stem in stems)
    assert f"{ROW}/epochs-1: ls" not in forecasts  # it is the row's
    assert not Path("new").exists()


def test_the_first_samples_of_a_row_are_compared() -> None:
    own = Experiment(row_named(ROW), Study(ReproduceConfig(), Path("root")))
    assert (own.samples, samples_of(own)) == (64, 32)
    few = Experiment(row_named(ROW), Study(ReproduceConfig(samples=7), Path("root")))
    assert samples_of(few) == 7


def test_a_row_with_the_scales_of_another_is_refused() -> None:
    with pytest.raises(mosaic.UsageError, match=r"cifar10-unet-attention.*cifar10-resnet-zeros"):
        target(Path("new"), rows="cifar10-unet-attention")


def test_it_says_and_draws_what_it_measured(folder: Path, measured: xr.Dataset) -> None:
    lines, row = target(folder.parent).summary(measured), measured.sel(row=ROW)
    numbers = [[float(number) for number in re.findall(r"-?\d\.\d{3}", line)] for line in lines]
    for number, name in enumerate(FOLDERS):
        ends = [row[f"pearson_r_{end}"].sel(network=name, theory=list(THEORIES)) for end in ("median", "low", "high")]
        assert numbers[number] == pytest.approx(np.array(ends).T.ravel(), abs=6e-4)
    own = row.sel(network="1/4 of the passes")
    line = next(line for line in lines if "from 1/4 of the passes to all" in line)
    for theory in ("ls", "is"):
        value, low, high = np.round(own["rise"].sel(theory=theory).values, 3)
        verdict = "rises" if low > 0 else "falls" if high < 0 else "neither rises nor falls"
        assert f"{theory.upper()} {verdict}, {value:.3f} [{low:.3f}, {high:.3f}]" in line
    figure = target(folder.parent).draw(measured)
    above, _, below, right = figure.axes
    drawn = {line.get_label(): line for line in above.get_lines() if line.get_label() in ("LS with ELS",)}
    np.testing.assert_array_equal(drawn["LS with ELS"].get_xdata(), [1, 4])
    passes = row.sel(network=[name for name in FOLDERS if "images" not in name])
    np.testing.assert_allclose(drawn["LS with ELS"].get_ydata(), passes["pearson_r_with_els_median"].sel(theory="ls"))
    heights = [line.get_ydata() for line in below.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(heights, passes["equivariance_error_interior_mean"].T)
    assert right.get_xlabel() != below.get_xlabel()
    check_readable(figure)
