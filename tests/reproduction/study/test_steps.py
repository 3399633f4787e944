"""The steps of a row: their order, what they rest on, and how long they take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.attention.theories import NETWORKS
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import CALIBRATED, Experiment
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.steps import calibration_steps, run_step, scaled_step, steps_of
from mosaic.reproduction.study.study import Study
from mosaic.run.config import RunConfig


def experiment_of(row: str) -> Experiment:
    return Experiment(row_named(row), Study(ReproduceConfig(**SMALL), Path("root")))


@pytest.mark.parametrize("row", ["mnist-resnet-circular", "cifar10-unet-attention"])
def test_what_a_run_rests_on_comes_before_it(row: str) -> None:
    done: set[str] = set()
    for step in steps_of(experiment_of(row)):
        assert step.rests_on is None or step.rests_on.name in done
        done.add(step.name)
    assert done >= {f"{row}: {name}" for name in ("train", "network", "is", "els", "ls")}
    assert not Path("root").exists()


def test_theories_rest_on_the_scales_and_the_network_on_its_training() -> None:
    owner, row = "cifar10-resnet-zeros", "cifar10-unet-attention"
    rests_on = {step.name: step.rests_on and step.rests_on.name for step in steps_of(experiment_of(row))}
    assert rests_on == {
        f"{owner}: train": None,
        f"{owner}: calibrate": f"{owner}: train",
        f"{row}: train": None,
        f"{row}: network": f"{row}: train",
        f"{row}: is": None,
        f"{row}: els": f"{owner}: calibrate",
        f"{row}: ls": f"{owner}: calibrate",
    }


def test_soft_els_rests_on_its_own_calibration_by_the_same_network() -> None:
    owner, row = "cifar10-resnet-zeros", "cifar10-unet-attention"
    steps = {step.name: step for step in steps_of(experiment_of(row), tuple(CALIBRATED))}
    assert steps.keys() >= {f"{row}: els", f"{row}: ls", f"{owner}: calibrate"}
    for name, before in ((f"{row}: soft-els", "calibrate soft-els"), (f"{owner}: calibrate soft-els", "train")):
        rests_on = steps[name].rests_on
        assert rests_on is not None
        assert rests_on.name == f"{owner}: {before}"
    assert len(steps) == 9


def test_the_job_of_a_run_is_the_run_itself() -> None:
    experiment = experiment_of("mnist-resnet-zeros")
    job = run_step(experiment, "is").job()
    assert job.place == Path("root/mnist-resnet-zeros/is.nc")
    with mosaic.run("is", "digits", dataset_options={"limit": 30}, samples=3, labels="none") as run:
        identity = {key: json.loads(run.attrs[key]) for key in job.identity if key in run.attrs}
    assert len(identity) > 5
    assert job.differing(identity) == []


def test_a_scaled_run_is_configured_when_its_scales_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then, its time is that at the paper's scales, or where there are none at those that a run would choose."""
    made: list[RunConfig] = []
    asked: list[RunConfig] = []

    def config() -> RunConfig:
        made.append(own.run_config("els", "5"))
        return made[-1]

    monkeypatch.setattr(Experiment, "run_seconds", lambda experiment, config: asked.append(config) or 7.0)
    own = experiment_of("mnist-resnet-zeros")
    presets = {own: "paper/mnist-resnet-zeros", Experiment(NETWORKS["resnet"], own.study): None}
    for experiment, preset in presets.items():
        step = scaled_step(experiment, "a name", "stem", config, samples=2)
        assert step.rests_on is not None
        assert step.rests_on.name.endswith(": calibrate")
        assert (step.name, step.seconds(), made) == ("a name", 7.0, [])
        assert (asked[-1].scales, asked[-1].samples) == (preset, 2)
    job = scaled_step(own, "a name", "stem", config).job()
    assert len(made) == 1
    assert job.place == Path("root/mnist-resnet-zeros/stem.nc")
    assert set(job.identity["scales"]) == {5}


def test_a_run_may_use_the_scales_of_another_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunConfig] = []
    monkeypatch.setattr(Experiment, "run_seconds", lambda experiment, config: asked.append(config) or 7.0)
    owner, experiment = experiment_of("mnist-unet-zeros"), experiment_of("mnist-resnet-zeros")
    config = experiment.run_config("els", str(owner.scales_file()))
    step = scaled_step(experiment, "a name", "stem", lambda: config, owner=owner)
    assert step.rests_on is not None
    assert step.rests_on.name == "mnist-unet-zeros: calibrate"
    step.seconds()
    owner.scales_file().parent.mkdir(parents=True)
    owner.scales_file().touch()
    step.seconds()
    assert [each.scales for each in asked] == ["paper/mnist-resnet-zeros", str(owner.scales_file())]


def test_once_there_are_scales_the_time_is_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunConfig] = []
    monkeypatch.setattr(Experiment, "run_seconds", lambda experiment, config: asked.append(config) or 7.0)
    experiment = experiment_of("mnist-resnet-zeros")
    experiment.scales_file().parent.mkdir(parents=True)
    experiment.scales_file().touch()
    config = experiment.run_config("els", "5")
    assert scaled_step(experiment, "a name", "stem", lambda: config).seconds() == 7.0
    assert asked == [config]


def test_machines_are_predicted_and_the_network_is_not() -> None:
    experiment = experiment_of("mnist-resnet-zeros")
    assert 0 < (run_step(experiment, "is").seconds() or 0) < 60
    assert 0 < (run_step(experiment, "ls").seconds() or 0) < 60
    assert run_step(experiment, "network").seconds() is None
    assert 0 < (run_step(experiment, "soft-els").seconds() or 0) < 60
    for score in ("els", "soft-els"):
        assert 0 < (calibration_steps(experiment, score)[1].seconds() or 0) < 600
