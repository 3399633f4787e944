"""The steps of a row: their order, what they rest on, and how long they take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_reproduction import SMALL

import mosaic
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.steps import machine_seconds, run_step, scaled_step, steps_of
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


def test_the_job_of_a_run_is_the_run_itself() -> None:
    experiment = experiment_of("mnist-resnet-zeros")
    job = run_step(experiment, "is").job()
    assert job.place == Path("root/mnist-resnet-zeros/is.nc")
    with mosaic.run("is", "digits", dataset_options={"limit": 30}, samples=3, labels="none") as run:
        identity = {key: json.loads(run.attrs[key]) for key in job.identity if key in run.attrs}
    assert len(identity) > 5
    assert job.differing(identity) == []


def test_a_scaled_run_is_configured_when_its_scales_are_there() -> None:
    made = []

    def config() -> RunConfig:
        made.append(True)
        return experiment.run_config("els", "5")

    experiment = experiment_of("mnist-resnet-zeros")
    step = scaled_step(experiment, "a name", "stem", config, lambda: 7.0)
    assert step.rests_on is not None
    assert step.rests_on.name == "mnist-resnet-zeros: calibrate"
    assert (step.name, step.seconds(), made) == ("a name", 7.0, [])
    job = step.job()
    assert made == [True]
    assert job.place == Path("root/mnist-resnet-zeros/stem.nc")
    assert set(job.identity["scales"]) == {5}


def test_seconds_of_a_machine_are_of_the_scales_and_engine_asked_for() -> None:
    experiment = experiment_of("mnist-resnet-zeros")
    assert 0 < machine_seconds(experiment, "is") < 60
    assert 0 < machine_seconds(experiment, "els", scales="3") < 60
    with pytest.raises(mosaic.UsageError, match="4"):
        machine_seconds(experiment, "els", scales="4")
    with pytest.raises(mosaic.UsageError, match="fastest"):
        machine_seconds(experiment, "els", engine="fastest", scales="3")
