"""Steps of a reproduction: made of what the other commands make, forecast, resumed, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from small_reproduction import SMALL, same

import mosaic
from mosaic.reproduction.reproduce import forecast_reproduction, prepare_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.forecast import Forecast
from mosaic.reproduction.study.rows import ROWS, sizes_of
from mosaic.reproduction.study.study import Study


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


def test_other_settings_than_it_was_started_with_are_refused(folder: Path) -> None:
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
