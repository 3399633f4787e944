"""A row: what its steps make, keep and use again, wherever they were interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from small_reproduction import NETWORK_STEPS, SMALL, same

import mosaic
from mosaic.reproduction.reproduce import forecast_reproduction, prepare_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.rows import ROWS, THEORY_STEPS, Row
from mosaic.reproduction.study.study import Study


@pytest.mark.filterwarnings("ignore:The best scale is")
def test_a_row_is_what_the_four_commands_make(made: Path, tmp_path: Path) -> None:
    data = {"dataset": "digits", "dataset_options": {"limit": 30}}
    options = {"channels": 4, "blocks": 1, "class_conditional": True, "padding": "zeros"}
    network = mosaic.train(
        "resnet", out="net", **data, network_options=options, epochs=2, batch_size=32, learning_rate=1e-3
    )
    row = made / "cpu" / "fashion-resnet-zeros"
    assert network.fingerprint() == mosaic.load_checkpoint(row / "network").fingerprint()
    mosaic.calibrate("net", out="scales.nc", samples=2, seed=1)
    mosaic.calibrate("net", "soft-els", out="soft.nc", samples=2, seed=1)
    same(xr.open_dataset("scales.nc"), xr.open_dataset(row / "scales.nc"))
    same(xr.open_dataset("soft.nc"), xr.open_dataset(row / "scales-soft-els.nc"))
    common = {**data, "samples": 3, "labels": "random"}
    runs = {
        "network": mosaic.run("network", **common, score_options={"checkpoint": "net"}, steps=NETWORK_STEPS),
        "els": mosaic.run("els", **common, scales="scales.nc"),
        "soft-els": mosaic.run("soft-els", **common, scales="soft.nc"),
        "ls": mosaic.run("ls", **common, scales="scales.nc"),
        "is": mosaic.run("is", **common),
    }
    for name, run in runs.items():
        with xr.open_dataset(row / f"{name}.nc") as stored:
            same(run, stored)
    actual = xr.open_dataset(made / "cpu" / "table2.nc").sel(row="fashion-resnet-zeros")
    for theory in ("els", "soft-els", "ls", "is"):
        compared = mosaic.compare(runs[theory], runs["network"], metrics=["pearson_r", "R2"])
        for name in ("pearson_r", "R2"):
            assert actual[name].sel(theory=theory).values.tolist() == compared[name][0].values.tolist()
            assert float(actual[f"{name}_median"].sel(theory=theory)) == float(compared[f"{name}_median"][0])
    assert actual["paper"].sel(theory=["els", "ls", "is"]).values.tolist() == [0.94, 0.88, 0.68]
    compared = mosaic.compare(runs["soft-els"], runs["network"], runs["els"], metrics=["pearson_r", "mse"])
    for gain, name in (("soft_gain", "pearson_r_gain"), ("soft_gain_mse", "mse_gain")):
        assert actual[gain].values.tolist() == [float(compared[f"{name}{end}"]) for end in ("", "_low", "_high")]


def test_what_is_there_is_not_made_again(folder: Path) -> None:
    kept = [
        path for path in folder.rglob("*") if path.suffix in (".nc", ".safetensors") and "comparison" not in path.name
    ]
    before = {path: path.stat().st_mtime_ns for path in kept if path.name != "table2.nc"}
    assert len(before) == 10
    mosaic.reproduce("table2", ["fashion-resnet-zeros"], out=folder, **SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.system
@pytest.mark.parametrize("step", ["train", "calibrate", "network", "els", "calibrate soft-els", "soft-els"])
def test_an_interruption_anywhere_changes_no_number(made: Path, step: str) -> None:
    def stop(done: float, total: float, unit: str, note: str = "") -> None:
        if note.startswith(f"fashion-resnet-zeros: {step},"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mosaic.reproduce("table2", ["fashion-resnet-zeros"], out="stopped", progress=stop, **SMALL)
    actual = mosaic.reproduce("table2", ["fashion-resnet-zeros"], out="stopped", **SMALL)
    same(actual, xr.open_dataset(made / "cpu" / "table2.nc"))


def test_more_epochs_are_refused_before_the_network_is_changed(folder: Path) -> None:
    weights = (folder / "cpu" / "fashion-resnet-zeros" / "network" / "weights.safetensors").read_bytes()
    for target in ("table2", "fig5c"):
        with pytest.raises(mosaic.UsageError, match="epochs: 2, now 3"):
            mosaic.reproduce(target, ["fashion-resnet-zeros"], out=folder, **{**SMALL, "epochs": 3})
    assert weights == (folder / "cpu" / "fashion-resnet-zeros" / "network" / "weights.safetensors").read_bytes()
    study = Study(ReproduceConfig(**SMALL, rows="fashion-resnet-zeros"), folder / "cpu")
    assert all(step.done for step in forecast_reproduction(prepare_reproduction("table2", study)))


def test_the_attention_row_uses_the_scales_of_the_resnet_of_the_same_settings() -> None:
    settings = {**SMALL, "dataset_options": {"limit": 20}, "epochs": 1, "network_options": {}}
    row = ROWS["cifar10-unet-attention"]
    experiment = Experiment(row, Study(ReproduceConfig(**settings), Path("root")))
    scales = experiment.calibrate()
    assert scales == Path("root/cifar10-resnet-zeros/scales.nc")
    assert experiment.run_config("els", str(scales)).scales == str(scales)
    assert experiment.calibrated_config("ls").scales == str(scales)
    assert experiment.calibrated_config("soft-els").scales == "root/cifar10-resnet-zeros/scales-soft-els.nc"
    assert experiment.calibrate("soft-els").exists()
    other = Experiment(row, Study(ReproduceConfig(**{**settings, "seed": 1}), Path("root")))
    with pytest.raises(mosaic.UsageError, match="seed: 0, now 1"):
        other.calibrate()


PAIRS = Row("pairs", "Pairs", "pairs", "resnet", "zeros", False, (0.9, 0.8, 0.7), "pairs")


def experiment_of(row: str | Row, **settings: Any) -> Experiment:
    return Experiment(
        ROWS[row] if isinstance(row, str) else row, Study(ReproduceConfig(**{**SMALL, **settings}), Path("root"))
    )


@pytest.mark.parametrize(
    ("row", "boundary", "labels"),
    [("fashion-resnet-zeros", "zeros", "random"), ("mnist-resnet-circular", "circular", "none")],
)
def test_all_runs_of_a_row_start_from_the_same_noise_and_labels(row: str, boundary: str, labels: str) -> None:
    experiment = experiment_of(row, seed=7)
    runs = {score: experiment.calibrated_config(score) for score in ("els", "soft-els", "ls", "is", NETWORK)}
    assert {(run.seed, run.samples, run.labels, run.dataset) for run in runs.values()} == {(7, 3, labels, "digits")}
    assert [run.steps for run in runs.values()] == [THEORY_STEPS] * 4 + [NETWORK_STEPS]
    for score, file in (("els", "scales.nc"), ("soft-els", "scales-soft-els.nc"), ("ls", "scales.nc")):
        assert runs[score].score_options == {"boundary": boundary}
        assert runs[score].scales == str(Path("root") / row / file)
    assert runs["is"].scales is None
    assert runs[NETWORK].scales is None
    assert runs[NETWORK].score_options == {"checkpoint": str(Path("root") / row / "network")}
    assert not Path("root").exists()


def test_several_trainings_have_seeds_and_places_of_their_own_and_the_same_noise() -> None:
    study = Study(ReproduceConfig(**SMALL, seed=7), Path("root"))
    first, third = (Experiment(ROWS["fashion-resnet-zeros"], study, number) for number in (0, 2))
    assert (first.load_plan().config.seed, third.load_plan().config.seed) == (7, 9)
    assert third.run_config(NETWORK).seed == first.run_config(NETWORK).seed == 7
    assert (first.folder.name, third.folder.name) == ("fashion-resnet-zeros", "fashion-resnet-zeros-2")
    assert third.step("train") == "fashion-resnet-zeros-2: train"
    assert third.run_config(NETWORK).score_options == {"checkpoint": "root/fashion-resnet-zeros-2/network"}
    assert first.training_job().identity != third.training_job().identity


def test_scales_are_calibrated_from_other_noise_than_what_is_compared(made: Path) -> None:
    experiment = Experiment(ROWS["fashion-resnet-zeros"], Study(ReproduceConfig(**{**SMALL, "seed": 7}), made / "cpu"))
    configuration = experiment.calibration_job().identity["configuration"]
    assert configuration["seed"] == 8
    assert configuration["samples"] == 2
    soft = experiment.calibration_job("soft-els").identity["configuration"]
    assert {key for key in soft if soft[key] != configuration[key]} == {"score", "score_options", "sizes"}


def test_options_of_the_presets_data_are_for_the_rows_own_data_only() -> None:
    own = experiment_of(PAIRS, dataset=None, dataset_options={"colours": 2})
    assert own.load_plan().config.dataset_options.items() >= {"count": 54, "colours": 2}.items()
    other = experiment_of(PAIRS, dataset="digits", dataset_options={"limit": 30})
    assert "count" not in other.load_plan().config.dataset_options
    assert len(other.load_dataset()) == 30


def test_settings_of_the_reproduction_come_before_those_of_the_preset() -> None:
    preset = experiment_of("mnist-resnet-zeros", epochs=None, network_options={}, samples=None).load_plan()
    assert preset.config.epochs == 110  # 220 000 images in passes of 2000
    assert preset.config.network_options["channels"] == 64
    config = experiment_of("mnist-resnet-zeros").load_plan().config
    assert (config.epochs, config.network_options["channels"], config.network_options["padding"]) == (2, 4, "zeros")


def test_the_data_of_a_row_are_read_once() -> None:
    experiment = experiment_of("mnist-resnet-zeros")
    assert experiment.load_dataset() is experiment.load_dataset()
    assert experiment.load_plan() is experiment.load_plan()
