"""The steps of an experiment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mosaic.evaluate.calibration.prepare import all_sizes, parse_sizes
from mosaic.registry.loading import registry
from mosaic.reproduction.study.experiment import CALIBRATED, NETWORK, PAPER_SCALED, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.run.config import RunConfig
from mosaic.sampling.scales import preset_names

__all__ = ["calibration_seconds", "calibration_steps", "run_step", "scaled_step", "steps_of", "training_step"]

LONG_ENOUGH = 1.0  # seconds that training steps are measured for


def training_step(experiment: Experiment) -> Step:
    """Step that trains the row's network."""
    return Step(experiment.step("train"), experiment.training_job, seconds=partial(_training_seconds, experiment))


def calibration_steps(experiment: Experiment, score: str = "els") -> list[Step]:
    """Steps that the scales of a theory come from: training and calibration, perhaps another row's."""
    owner = experiment.scales_owner()
    train, seconds = training_step(owner), partial(calibration_seconds, owner, score)
    return [train, Step(owner.calibration_step(score), partial(owner.calibration_job, score), train, seconds)]


def run_step(experiment: Experiment, score: str) -> Step:
    """Step that runs the network, or a theory at the calibrated scales."""
    name, config = experiment.step(score), partial(experiment.calibrated_config, score)
    if score in CALIBRATED:
        return scaled_step(experiment, name, stem=score, config=config, score=score)
    if score == NETWORK:
        return Step(name, lambda: experiment.run_job(score, config()), training_step(experiment))
    return Step(name, lambda: experiment.run_job(score, config()), seconds=lambda: experiment.run_seconds(config()))


def scaled_step(
    experiment: Experiment,
    name: str,
    stem: str,
    config: Callable[[], RunConfig],
    score: str = "els",
    samples: int | None = None,
    owner: Experiment | None = None,
) -> Step:
    """Step that runs a configuration made of the calibrated scales, kept as `stem`.nc.

    The scales are those of `owner`, by default of whose the experiment uses. Before the calibration its time is
    predicted at the paper's scales, for its `score` and `samples` (those of the row, unless given).
    """
    owner = owner or experiment.scales_owner()

    def seconds() -> float | None:
        if owner.scales_file(score).exists():
            return experiment.run_seconds(config())
        preset = f"paper/{experiment.row.scales_of}"
        rough = experiment.run_config(score, preset if preset in preset_names() else None)
        return experiment.run_seconds(rough.model_copy(update={"samples": samples or experiment.samples}))

    return Step(name, lambda: experiment.run_job(stem, config()), calibration_steps(owner, score)[-1], seconds)


def steps_of(experiment: Experiment, theories: Sequence[str] = PAPER_SCALED) -> list[Step]:
    """Steps of a row's comparison: training, runs of the network and IS, calibrations and runs of theories."""
    unscaled, scaled = ([run_step(experiment, score) for score in scores] for scores in ((NETWORK, "is"), theories))
    calibrated = {step.name: step for score in theories for step in calibration_steps(experiment, score)}
    return [training_step(experiment), *unscaled, *calibrated.values(), *scaled]


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
    seconds_per_step = (time.perf_counter() - begin) / count
    return experiment.training_job().steps_left() * seconds_per_step


def calibration_seconds(experiment: Experiment, score: str, **options: Any) -> float:
    """Predict the seconds of a calibration: every scale at every step; `options` as for `Experiment.run_config`."""
    theory, dataset = CALIBRATED[score], experiment.load_dataset()
    field = experiment.load_plan().network.receptive_field()
    samples = experiment.study.config.calibration_samples or experiment.sizes.calibration_samples
    continuous = registry().make("score", theory, {}, dataset).traits.has_continuous_scale
    sizes = parse_sizes(all_sizes(dataset.shape, field, continuous), continuous)
    configs = [experiment.run_config(theory, str(k), **options).model_copy(update={"samples": samples}) for k in sizes]
    return sum(experiment.run_seconds(config) or 0.0 for config in configs)
