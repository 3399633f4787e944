"""Reproductions: what they measure is right, and they are made of what the other commands make."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import mosaic
from mosaic.reproduction.paper.fig3 import in_the_majority
from mosaic.reproduction.paper.fig4 import beside_the_centre, receptive_field, width_of
from mosaic.reproduction.paper.fig5c import LATE, bright_runs
from mosaic.reproduction.paper.memorization import FACTORS, multiplied
from mosaic.reproduction.reproduce import forecast_reproduction, prepare_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Forecast
from mosaic.reproduction.study.rows import ROWS, sizes_of
from mosaic.reproduction.study.study import Study

SMALL = {
    "dataset": "digits",
    "dataset_options": {"limit": 30},
    "network_options": {"channels": 4, "blocks": 1},
    "epochs": 2,
    "samples": 3,
    "calibration_samples": 2,
}


def same(one: Any, two: Any) -> None:
    """Hold two data sets equal but for the times at which they were made."""
    xr.testing.assert_equal(one.drop_attrs(), two.drop_attrs())


# What is measured


def test_there_are_the_eleven_rows_of_table_2() -> None:
    assert len(ROWS) == 11
    assert ROWS["mnist-resnet-zeros"].paper == (0.94, 0.82, 0.61)
    assert ROWS["cifar10-resnet-circular"].padding == "circular"
    assert ROWS["cifar10-unet-attention"].scales_of == "cifar10-resnet-zeros"
    assert {row.dataset for row in ROWS.values() if row.conditional} == {"cifar10", "fashion_mnist"}
    for row in ROWS.values():  # every plugin that a row names is there, with the options it is given
        network = mosaic.registry().get("network", row.network)
        mosaic.registry().get("dataset", row.dataset)
        for preset in ("cpu", "paper"):
            network.Options.parse(sizes_of(row, preset).network_options, row.name)


def test_the_papers_preset_has_the_papers_sizes() -> None:
    sizes = sizes_of(ROWS["mnist-resnet-zeros"], "paper")
    assert sizes.dataset_options == {}
    assert sizes.training == {"epochs": 300, "batch_size": 128, "learning_rate": 1e-4}
    assert (sizes.samples, sizes.network_steps) == (100, 150)


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


# The experiment


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one small row has been run."""
    folder = tmp_path_factory.mktemp("made")
    mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **SMALL)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same, to go on with."""
    return Path(shutil.copytree(made, tmp_path / "again"))


def test_a_row_is_what_the_four_commands_make(made: Path, tmp_path: Path) -> None:
    data = {"dataset": "digits", "dataset_options": {"limit": 30}}
    options = {"channels": 4, "blocks": 1, "class_conditional": True, "padding": "zeros"}
    network = mosaic.train(
        "resnet", out="net", **data, network_options=options, epochs=2, batch_size=32, learning_rate=1e-3
    )
    row = made / "cpu" / "fashion-resnet-zeros"
    assert network.fingerprint() == mosaic.load_checkpoint(row / "network").fingerprint()
    mosaic.calibrate("net", out="scales.nc", samples=2, seed=1)
    same(xr.open_dataset("scales.nc"), xr.open_dataset(row / "scales.nc"))
    common = {**data, "samples": 3, "labels": "random"}
    runs = {
        "network": mosaic.run("network", **common, score_options={"checkpoint": "net"}, steps=150),
        "els": mosaic.run("els", **common, scales="scales.nc"),
        "ls": mosaic.run("ls", **common, scales="scales.nc"),
        "is": mosaic.run("is", **common),
    }
    for name, run in runs.items():
        with xr.open_dataset(row / f"{name}.nc") as stored:
            same(run, stored)
    actual = xr.open_dataset(made / "cpu" / "table2.nc").sel(row="fashion-resnet-zeros")
    for theory in ("els", "ls", "is"):
        compared = mosaic.compare(runs[theory], runs["network"], metrics=["pearson_r", "R2"])
        for name in ("pearson_r", "R2"):
            assert actual[name].sel(theory=theory).values.tolist() == compared[name][0].values.tolist()
            assert float(actual[f"{name}_median"].sel(theory=theory)) == float(compared[f"{name}_median"][0])
    assert actual["paper"].values.tolist() == [0.94, 0.88, 0.68]


def test_rows_that_were_not_run_are_missing_and_what_was_is_recorded(made: Path) -> None:
    actual = xr.open_dataset(made / "cpu" / "table2.nc")
    assert actual["row"].values[actual["done"].values].tolist() == ["fashion-resnet-zeros"]
    others = actual.sel(row=[name for name in ROWS if name != "fashion-resnet-zeros"])
    assert others["pearson_r_median"].isnull().all()
    assert not others["paper"].isnull().any()
    recipe = json.loads(actual.attrs["recipes"])["fashion-resnet-zeros"]
    assert recipe["calibration"]["configuration"]["samples"] == 2
    assert "torch" in recipe["runs"]["ls"]["versions"]
    assert recipe["training"]["configuration"]["epochs"] == 2
    assert recipe["training"]["versions"]["torch"] == torch.__version__
    for role in ("run", "reference", "baseline", "ls"):
        assert recipe["runs"][role]["configuration"]["seed"] == 0
    assert json.loads(actual.attrs["configuration"])["samples"] == 3
    assert {"mosaic_version", "torch_version", "command_line", "created"} <= set(actual.attrs)


def test_what_is_there_is_not_made_again(folder: Path) -> None:
    kept = [
        path for path in folder.rglob("*") if path.suffix in (".nc", ".safetensors") and "comparison" not in path.name
    ]
    before = {path: path.stat().st_mtime_ns for path in kept if path.name != "table2.nc"}
    assert len(before) == 8
    mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize("step", ["train", "calibrate", "network", "els"])
def test_an_interruption_anywhere_changes_no_number(made: Path, step: str) -> None:
    def stop(done: float, total: float, unit: str, note: str = "") -> None:
        if note.startswith(f"fashion-resnet-zeros: {step},"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mosaic.reproduce("table2", ["fashion-resnet-zeros"], out="stopped", progress=stop, **SMALL)
    actual = mosaic.reproduce("table2", ["fashion-resnet-zeros"], out="stopped", **SMALL)
    same(actual, xr.open_dataset(made / "cpu" / "table2.nc"))


def test_other_settings_than_it_was_begun_with_are_refused(folder: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=r"seed: 0, now 3"):
        mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **{**SMALL, "seed": 3})
    with pytest.raises(mosaic.UsageError, match="samples: 3, now 4"):
        mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **{**SMALL, "samples": 4})


def test_more_epochs_are_refused_before_the_network_is_changed(folder: Path) -> None:
    weights = (folder / "cpu" / "fashion-resnet-zeros" / "network" / "weights.safetensors").read_bytes()
    for target in ("table2", "fig5c"):
        with pytest.raises(mosaic.UsageError, match="epochs: 2, now 3"):
            mosaic.reproduce(target, ["fashion-resnet-zeros"], out=folder, **{**SMALL, "epochs": 3})
    assert weights == (folder / "cpu" / "fashion-resnet-zeros" / "network" / "weights.safetensors").read_bytes()
    mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **SMALL)


def forecast_of(name: str, folder: Path, **settings: Any) -> dict[str, Forecast]:
    rows = None if name == "fig3" else "fashion-resnet-zeros"
    study = Study(ReproduceConfig(**{**SMALL, "rows": rows, **settings}), folder / "cpu")
    target = prepare_reproduction(name, study)
    return {step.step.removeprefix("fashion-resnet-zeros: "): step for step in forecast_reproduction(target)}


@pytest.mark.parametrize("name", ["table2", "fig3", "fig4", "fig5c", "memorization"])
def test_what_is_there_is_forecast_as_done(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.reproduction.paper.fig3.STEPS", (5,))
    monkeypatch.setattr("mosaic.reproduction.paper.fig3.SAMPLES", 1)
    mosaic.reproduce(name, [] if name == "fig3" else ["fashion-resnet-zeros"], out=folder, **SMALL)
    steps = forecast_of(name, folder)
    assert all(step.done and step.seconds == 0 and not step.other_code for step in steps.values())
    monkeypatch.setattr("mosaic.storage.made_by.core_digest", lambda: "another")
    assert all(step.done and step.other_code for step in forecast_of(name, folder).values())


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("table2", {"samples": 4}, r"network.nc' was made with other settings \(.*configuration.samples: 3, now 4"),
        ("table2", {"calibration_samples": 3}, r"scales.nc' was made with other settings .*samples: 2, now 3"),
        ("fig4", {"calibration_samples": 3}, "samples: 2, now 3"),
        ("fig5c", {"seed": 1}, "seed: 0, now 1"),
        ("memorization", {"epochs": 3}, "epochs: 2, now 3"),
    ],
)
def test_other_settings_are_refused_beforehand(name: str, settings: Any, words: str, folder: Path) -> None:
    with pytest.raises(mosaic.UsageError, match=words):
        forecast_of(name, folder, **settings)


@pytest.mark.parametrize("name", ["table2", "fig5c", "memorization"])
def test_a_forecast_computes_nothing_that_is_kept(name: str, folder: Path) -> None:
    mosaic.reproduce(name, ["fashion-resnet-zeros"], out=folder, **SMALL)
    (folder / "cpu" / "fashion-resnet-zeros" / "network" / "training.safetensors").unlink()  # from which it would go on
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    actual = forecast_of(name, folder)
    assert not actual["train"].done
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_in_progress_with_other_settings_is_refused_beforehand(folder: Path) -> None:
    row = folder / "cpu" / "fashion-resnet-zeros"
    (row / "els.nc").unlink()

    def stop(done: float, total: float, unit: str, note: str = "") -> None:
        if note.startswith("batch 2/"):
            raise KeyboardInterrupt

    data = {"dataset_options": {"limit": 30}, "scales": str(row / "scales.nc"), "score_options": {"boundary": "zeros"}}
    with pytest.raises(KeyboardInterrupt):
        mosaic.run("els", "digits", out=row / "els.nc", samples=9, labels="random", progress=stop, **data)
    assert (row / "els.nc.parts").exists()
    with pytest.raises(mosaic.UsageError, match="samples: 9, now 3"):
        forecast_of("table2", folder)


def test_what_rests_on_what_is_not_there_is_forecast_as_to_be_done(folder: Path) -> None:
    row = folder / "cpu" / "fashion-resnet-zeros"
    (row / "scales.nc").unlink()
    actual = forecast_of("table2", folder)
    assert [name for name, step in actual.items() if step.done] == ["train", "network", "is"]
    (row / "network" / "weights.safetensors").unlink()
    actual = forecast_of("table2", folder)
    assert [name for name, step in actual.items() if step.done] == ["is"]
    assert all(step.seconds > 0 for name, step in actual.items() if name != "is")


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


# The figures


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


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("table3", [], "nothing called 'table3'"),
        ("table2", ["mnist-resnet"], r"no row 'mnist-resnet'.*mnist-resnet-zeros"),
    ],
)
def test_what_there_is_not_is_refused(name: str, rows: list[str], words: str) -> None:
    with pytest.raises(mosaic.UsageError, match=words):
        mosaic.reproduce(name, rows, out="out")
    assert not Path("out").exists()


def test_a_row_whose_data_are_not_there_says_so() -> None:
    with pytest.raises(mosaic.DataError, match="mnist"):
        mosaic.reproduce("table2", ["mnist-resnet-zeros"], out="out", data_dir="nowhere")
