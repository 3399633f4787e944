"""How long the steps of an experiment will take on this machine, measured on a little of each.

Nothing that is computed depends on what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

import torch

from mosaic.calibration_plan import parse_sizes
from mosaic.checkpoint import WEIGHTS, load_checkpoint
from mosaic.estimate import predict_seconds
from mosaic.plan import prepare
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.rows import ROWS, THEORY_STEPS
from mosaic.scales import preset_names
from mosaic.train_plan import TrainPlan

__all__ = ["Forecast", "forecast", "machine_seconds"]

STEPS = ("train", "calibrate", "network", "is", "els", "ls")
LONG_ENOUGH = 1.0  # seconds that training steps are measured for


@dataclass(frozen=True)
class Forecast:
    """A step of an experiment, and the seconds that it will take; none where it is done."""

    step: str
    seconds: float
    done: bool


def forecast(experiment: Experiment, wanted: Collection[str] = STEPS) -> list[Forecast]:
    """Tell the wanted steps of an experiment and how long those that are not done will take, in their order."""
    row, folder = experiment.row, experiment.folder
    experiment.check_network()
    steps: list[tuple[str, bool, Callable[[], float]]] = []
    left = _training_left(experiment)
    steps.append(("train", left == 0, lambda: left * _training_step(experiment.training_plan)))
    if row.scales_of == row.name:
        done = experiment.scales_file.exists()
        steps.append(("calibrate", done, lambda: _calibration(experiment)))
    steps.append(("network", (folder / "network.nc").exists(), lambda: _network(experiment)))
    for score in ("is", "els", "ls"):
        steps.append((score, (folder / f"{score}.nc").exists(), partial(machine_seconds, experiment, score)))
    steps = [step for step in steps if step[0] in wanted]
    found = [Forecast(f"{row.name}: {step}", 0.0 if done else work(), done) for step, done, work in steps]
    if row.scales_of in ROWS and row.scales_of != row.name:
        found = forecast(experiment.sibling(row.scales_of), ("train", "calibrate")) + found
    return found


def _training_left(experiment: Experiment) -> float:
    """Training steps still to do."""
    plan, folder = experiment.training_plan, experiment.network_folder
    per_epoch = -(-len(plan.dataset) // plan.config.batch_size)
    done = load_checkpoint(folder).progress["step"] if (folder / WEIGHTS).is_file() else 0
    return max(0, plan.config.epochs * per_epoch - int(done))


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
