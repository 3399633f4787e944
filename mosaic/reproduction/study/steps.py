"""The steps of an experiment, and their times on this machine, predicted from a short measurement of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from mosaic.evaluate.calibration.prepare import all_sizes, parse_sizes
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import THEORY_STEPS
from mosaic.run.config import RunConfig
from mosaic.run.estimate import predict_seconds
from mosaic.sampling.scales import preset_names

__all__ = ["calibration_steps", "machine_seconds", "run_step", "scaled_step", "steps_of", "training_step"]

LONG_ENOUGH = 1.0  # seconds that training steps are measured for


def training_step(experiment: Experiment) -> Step:
    """Step that trains the row's network."""
    return Step(experiment.step("train"), experiment.training_job, partial(_training_seconds, experiment))


def calibration_steps(experiment: Experiment) -> list[Step]:
    """Steps that the scales of a row come from: training and calibration, perhaps another row's."""
    owner = experiment.scales_owner()
    train, seconds = training_step(owner), partial(_calibration_seconds, owner)
    return [train, Step(owner.step("calibrate"), owner.calibration_job, seconds, train)]


def run_step(experiment: Experiment, score: str) -> Step:
    """Step that runs the network, or a theory at the calibrated scales."""
    rests_on = {NETWORK: training_step(experiment), "is": None}
    return Step(
        experiment.step(score),
        lambda: experiment.run_job(score, experiment.calibrated_config(score)),
        partial(_network_seconds, experiment) if score == NETWORK else partial(machine_seconds, experiment, score),
        rests_on[score] if score in rests_on else calibration_steps(experiment)[-1],
    )


def scaled_step(
    experiment: Experiment, name: str, stem: str, config: Callable[[], RunConfig], seconds: Callable[[], float]
) -> Step:
    """Step that runs a configuration made of the calibrated scales, kept as `stem`.nc."""
    return Step(name, lambda: experiment.run_job(stem, config()), seconds, calibration_steps(experiment)[-1])


def steps_of(experiment: Experiment) -> list[Step]:
    """Steps of a row's comparison: calibration, training, then runs of the network, IS, ELS and LS."""
    runs = [run_step(experiment, score) for score in (NETWORK, "is", "els", "ls")]
    return [*calibration_steps(experiment), training_step(experiment), *runs]


def _training_seconds(experiment: Experiment) -> float:
    """Seconds of the training steps that are left, extrapolated from one second of training that is not kept."""
    training = experiment.load_plan().build()
    training.run_step()  # starts threads, chooses algorithms
    training.flush()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < LONG_ENOUGH:
        training.run_step()
        training.flush()
        count += 1
    return experiment.training_job().steps_left() * (time.perf_counter() - begin) / count


def _calibration_seconds(experiment: Experiment) -> float:
    """Seconds of a calibration: every scale at every step."""
    dataset, field = experiment.load_dataset(), experiment.load_plan().network.receptive_field()
    samples = experiment.study.config.calibration_samples or experiment.sizes.calibration_samples
    config = experiment.run_config("els", "3").model_copy(update={"samples": samples})
    plan = experiment.study.prepare(config, dataset)
    sizes = parse_sizes(all_sizes(dataset.shape, field))
    return sum(predict_seconds(plan, (k,) * THEORY_STEPS) or 0.0 for k in sizes)


def machine_seconds(experiment: Experiment, score: str, engine: str = "auto", scales: str | None = None) -> float:
    """Seconds of a machine's run, at these scales, or the row's, or the paper's where those are not calibrated yet."""
    if scales is None:
        own, preset = experiment.scales_owner().scales_file, f"paper/{experiment.row.scales_of}"
        scales = str(own) if own.exists() else preset if preset in preset_names() else None
    config = experiment.run_config(score, scales)
    if engine != "auto":
        config = config.model_copy(update={"score_options": {**config.score_options, "engine": engine}})
    return experiment.study.run_seconds(config, experiment.load_dataset())


def _network_seconds(experiment: Experiment) -> float:
    """Seconds of the network's run, by its untrained module on one batch; the shortest of three calls."""
    plan = experiment.load_plan()
    module, device = plan.build().module.eval(), plan.dataset.images.device
    count = min(8, experiment.samples)
    x = torch.zeros(count, *plan.dataset.shape, device=device, dtype=torch.float32)
    t = torch.full((count,), 0.5, device=device, dtype=torch.float32)
    labels = torch.zeros(count, dtype=torch.int64, device=device) if plan.is_conditional else None
    seconds = []
    with torch.no_grad():
        module(x, t, labels)
        for _ in range(3):
            begin = time.perf_counter()
            module(x, t, labels).sum().item()
            seconds.append(time.perf_counter() - begin)
    return min(seconds) * experiment.sizes.network_steps * experiment.samples / count
