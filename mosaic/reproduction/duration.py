"""How long the steps of an experiment will take on this machine, measured on a little of each.

Nothing that is computed depends on what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from mosaic.calibration_plan import parse_sizes
from mosaic.config import RunConfig
from mosaic.estimate import predict_seconds
from mosaic.origin import is_of_other_code
from mosaic.plan import prepare
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.rows import ROWS, THEORY_STEPS
from mosaic.scales import preset_names
from mosaic.store import RunStore
from mosaic.train_plan import TrainPlan

__all__ = ["Forecast", "forecast", "forecast_scaled", "forecast_step", "machine_seconds"]

STEPS = ("train", "calibrate", "network", "is", "els", "ls")
LONG_ENOUGH = 1.0  # seconds that training steps are measured for


@dataclass(frozen=True)
class Forecast:
    """A step of an experiment.

    Attributes
    ----------
    step : str
        Its name.
    seconds : float
        How long it will take; 0 where it is done.
    done : bool
        Whether it is.
    other_code : bool
        Whether it was done by other code of mosaic than runs now.
    """

    step: str
    seconds: float
    done: bool
    other_code: bool = False


def forecast_step(step: str, out: Path, is_done: Callable[[], bool], seconds: Callable[[], float]) -> Forecast:
    """Tell of a step that makes a file, or a network's folder.

    Raises
    ------
    BegunOtherwise
        If it was done with other settings.
    """
    if RunStore(out).has_begun() and is_done():
        return Forecast(step, 0.0, True, is_of_other_code(out))
    return Forecast(step, seconds(), False)


def forecast_scaled(
    experiment: Experiment, step: str, stem: str, config: Callable[[], RunConfig], seconds: Callable[[], float]
) -> Forecast:
    """Tell of a run that is kept under `stem`, at scales that come from the calibrated ones.

    Raises
    ------
    BegunOtherwise
        If it was done with other settings.
    """

    def is_done() -> bool:
        return experiment.has_scales and experiment.has_run(stem, config())

    return forecast_step(step, experiment.folder / f"{stem}.nc", is_done, seconds)


def forecast(experiment: Experiment, wanted: Collection[str] = STEPS) -> list[Forecast]:
    """Tell the wanted steps of an experiment and how long those that are not done will take, in their order.

    Raises
    ------
    BegunOtherwise
        If a step was done with other settings.
    """
    row, left = experiment.row, experiment.training_left
    found = []
    if row.scales_of in ROWS and row.scales_of != row.name:
        found += forecast(experiment.scales_owner, ("train", "calibrate"))

    def tell(step: str, out: Path, is_done: Callable[[], bool], seconds: Callable[[], float]) -> None:
        if step in wanted:
            found.append(forecast_step(f"{row.name}: {step}", out, is_done, seconds))

    def is_run(score: str) -> bool:
        ready = left == 0 if score == "network" else score == "is" or experiment.has_scales
        return ready and experiment.has_run(score, experiment.usual_config(score))

    network, scales = experiment.network_folder, experiment.scales_file
    tell("train", network, lambda: left == 0, lambda: left * _training_step(experiment.training_plan))
    if row.scales_of == row.name:
        tell("calibrate", scales, lambda: experiment.has_scales, lambda: _calibration(experiment))
    for score in ("network", "is", "els", "ls"):
        seconds = partial(_network, experiment) if score == "network" else partial(machine_seconds, experiment, score)
        tell(score, experiment.folder / f"{score}.nc", partial(is_run, score), seconds)
    return found


def _training_step(plan: TrainPlan) -> float:
    """Seconds of one step of a training."""
    training = plan.start()
    training.run_step()  # starts threads, chooses algorithms
    training.flush()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < LONG_ENOUGH:
        training.run_step()
        training.flush()
        count += 1
    return (time.perf_counter() - begin) / count


def machine_seconds(experiment: Experiment, score: str, engine: str = "auto", scales: str | None = None) -> float:
    """Seconds of a machine's run, at these scales, or the row's, or the paper's where those are not calibrated yet."""
    preset = f"paper/{experiment.row.scales_of}"
    own = experiment.scales_file if experiment.row.scales_of == experiment.row.name else None
    known = str(own) if own is not None and own.exists() else preset if preset in preset_names() else None
    config = experiment.run_config(score, scales or known)
    if engine != "auto":
        config = config.model_copy(update={"score_options": {**config.score_options, "engine": engine}})
    return predict_seconds(prepare(config, experiment.access, dataset=experiment.dataset)) or 0.0


def _calibration(experiment: Experiment) -> float:
    """Seconds of a calibration: every scale at every step."""
    network, samples = experiment.training_plan.network, experiment.calibration_settings["samples"]
    config = experiment.run_config("els", "3").model_copy(update={"samples": samples})
    plan = prepare(config, experiment.access, dataset=experiment.dataset)
    side = (min(experiment.dataset.shape[1:]) - 1) | 1
    largest = min(side, network.receptive_field() or side)
    total = 0.0
    for k in parse_sizes(f"3-{max(3, largest)}"):
        total += predict_seconds(replace(plan, scales=(k,) * THEORY_STEPS)) or 0.0
    return total


def _network(experiment: Experiment) -> float:
    """Seconds of the network's own run."""
    plan = experiment.training_plan
    module = plan.start().module.eval()
    device = plan.dataset.images.device
    count = min(8, experiment.samples)
    x, t = torch.zeros(count, *plan.dataset.shape, device=device), torch.full((count,), 0.5, device=device)
    labels = torch.zeros(count, dtype=torch.int64, device=device) if plan.is_conditional else None
    with torch.no_grad():
        module(x, t, labels)
        begin = time.perf_counter()
        module(x, t, labels).sum().item()
    return (time.perf_counter() - begin) * experiment.sizes.network_steps * experiment.samples / count
