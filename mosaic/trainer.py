"""Training as a job: resolve what is asked for, train, keep a checkpoint that a kill cannot spoil."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mosaic.checkpoint import (
    DESCRIPTION,
    LOSS,
    SCHEMA,
    TRAINING,
    WEIGHTS,
    Checkpoint,
    build_network,
    load_checkpoint,
    load_tensors,
    save_tensors,
)
from mosaic.config import layered
from mosaic.dataset import DataAccess, DataSet
from mosaic.errors import MosaicError, UsageError
from mosaic.interrupts import interrupts_held
from mosaic.network import Network
from mosaic.plan import chosen_device
from mosaic.plugins import registry
from mosaic.processor import multiplies_bfloat16
from mosaic.runner import data_access, versions_of
from mosaic.schedule import NoiseSchedule
from mosaic.store import locked, named_differences, replacing, write_netcdf
from mosaic.train_config import TrainConfig
from mosaic.training import Training

__all__ = ["TrainPlan", "TrainProgress", "execute_training", "parse_seconds", "prepare_training", "train"]

HISTORY_SCHEMA = "mosaic-training/1"

# Losses are fetched from the device this often: each fetch waits for it.
FETCH_SECONDS = 0.2


@dataclass(frozen=True)
class TrainPlan:
    """A training, resolved and checked."""

    config: TrainConfig
    dataset: DataSet
    network: Network
    schedule: NoiseSchedule

    @property
    def is_conditional(self) -> bool:
        """Whether the network is given labels."""
        return bool(getattr(self.network.options, "class_conditional", False))

    def start(self) -> Training:
        """Build the untrained network."""
        classes = len(self.dataset.classes) if self.is_conditional else 0
        module = build_network(self.config, self.dataset.shape[0], classes, self.config.seed)
        module = module.to(self.dataset.images.device)
        return Training(self.config, module, self.schedule, self.dataset, self.is_conditional)


@dataclass(frozen=True)
class TrainProgress:
    """How far a training is.

    Attributes
    ----------
    step, steps : int
        Steps done, and steps of the whole training.
    epoch : float
        Passes over the training set done.
    loss : float
        Mean loss of the latest 100 steps.
    seconds : float
        Training time, that of earlier sittings included.
    images_per_second : float
        Throughput since this sitting began.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    seconds: float
    images_per_second: float


Report = Callable[[TrainProgress], None]


def no_report(progress: TrainProgress) -> None:
    """Show nothing."""


def parse_seconds(text: str, option: str = "--max-time") -> float:
    """Read a time such as 90s, 10m, 1h30m, or a number of seconds.

    Raises
    ------
    UsageError
        If it is no time above 0.
    """
    found = re.fullmatch(r"\s*(?:(\d{1,6})h)?\s*(?:(\d{1,6})m)?\s*(?:(\d{1,9}(?:\.\d{1,3})?)s?)?\s*", text)
    hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise UsageError(f"{option} '{text}' is no time; write 90s, 10m, 1h30m or a number of seconds.")
    return total


def prepare_training(
    layers: Sequence[Mapping[str, Any]], access: DataAccess, dataset: DataSet | None = None
) -> TrainPlan:
    """Resolve settings, given in rising order of precedence; the data set's own defaults come before them all.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    names = registry()
    config = layered(TrainConfig, *layers)
    names.get("network", config.network)
    if dataset is None:
        source = names.get("dataset", config.dataset)
        options = source.Options.parse(config.dataset_options, f"dataset.{config.dataset}")
        dataset = source(options, access).load()
        layers = [*layers, {"dataset": config.dataset, "dataset_options": options.model_dump(mode="json")}]
    config = layered(TrainConfig, _defaults_of(dataset, config.network), *layers)
    kinds = {kind: names.get(kind, getattr(config, kind)) for kind in ("network", "schedule")}
    parts = {
        kind: cls(cls.Options.parse(getattr(config, f"{kind}_options"), f"{kind}.{getattr(config, kind)}"))
        for kind, cls in kinds.items()
    }
    parts["network"].check(dataset.shape)
    device = chosen_device(config.device, "float32", dataset.images.device)
    config = config.model_copy(
        update={
            **{f"{kind}_options": part.options.model_dump(mode="json") for kind, part in parts.items()},
            "device": str(device),
            "precision": _precision(config.precision, device),
            "lr_decay": config.lr_decay or _decay(config, len(dataset)),
        }
    )
    plan = TrainPlan(config, dataset.to(device), parts["network"], parts["schedule"])
    if plan.is_conditional and dataset.labels is None:
        raise UsageError(f"Data set '{dataset.name}' has no labels; use -o network.class_conditional=false.")
    return plan


def _defaults_of(dataset: DataSet, network: str) -> dict[str, Any]:
    """Settings that a data set declares to suit it, with those of the network."""
    defaults = dict(dataset.training)
    networks = defaults.pop("networks", {})
    return {**defaults, "network": network, "network_options": networks.get(network, {})}


def _decay(config: TrainConfig, images: int) -> float:
    """Decay a step that lets the learning rate fall over the epochs as much as the paper's does over its own."""
    paper, steps = 300 * math.ceil(60_000 / 128), config.epochs * math.ceil(images / config.batch_size)
    return float(0.999965 ** (paper / steps))


def _precision(wanted: str, device: torch.device) -> str:
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and multiplies_bfloat16() else "float32"


def describe_training(plan: TrainPlan) -> dict[str, Any]:
    """What checkpoint.json holds."""
    dataset = plan.dataset
    return {
        "schema": SCHEMA,
        "configuration": plan.config.model_dump(mode="json"),
        "shape": dataset.shape,
        "classes": dataset.classes,
        "dataset": dataset.name,
        "dataset_size": len(dataset),
        "dataset_fingerprint": dataset.fingerprint,
        "dataset_source": dataset.source,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command_line": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "",
        "versions": versions_of({kind: getattr(plan.config, kind) for kind in ("network", "dataset", "schedule")}),
    }


def check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that is taken, or is no checkpoint's; writes nothing.

    Raises
    ------
    UsageError
        With the way out.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out '{out}' is a file; a checkpoint is a folder.")
    if not out.exists():
        if not out.absolute().parent.is_dir():
            raise UsageError(f"--out '{out}': there is no folder '{out.parent}'; make it first.")
        return
    if any(out.iterdir()) and not (out / DESCRIPTION).is_file():
        raise UsageError(f"--out '{out}' holds other files; choose another folder.")
    if (out / DESCRIPTION).is_file() and not (resume or overwrite):
        raise UsageError(f"'{out}' holds a checkpoint; use --resume to go on, --overwrite, or another --out.")


def execute_training(
    plan: TrainPlan,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    max_seconds: float = math.inf,
    save_seconds: float = 30.0,
    report: Report = no_report,
) -> Checkpoint:
    """Train, and keep a checkpoint in the folder `out`.

    Parameters
    ----------
    resume, overwrite : bool
        Go on with the training there, which must agree in all but the number of epochs; or replace it.
    max_seconds : float
        Stop, with a checkpoint, when training has taken this long, earlier sittings included.
    save_seconds : float
        Time between two checkpoints: what a kill can lose at most.

    Raises
    ------
    UsageError
        If the folder cannot be used, or holds another training.
    MosaicError
        If the loss turns NaN or infinite; the last good checkpoint stays.
    """
    check_folder(out, resume=resume, overwrite=overwrite)
    out.mkdir(exist_ok=True)
    with locked(out, out):
        if overwrite:
            for name in (DESCRIPTION, WEIGHTS, TRAINING, LOSS):
                (out / name).unlink(missing_ok=True)
        description = describe_training(plan)
        begun = resume and (out / DESCRIPTION).is_file()
        if begun:
            _check_same(load_checkpoint(out), description)
        _Sitting(plan, out, description, report).run(max_seconds, save_seconds)
    return load_checkpoint(out)


def settings_begun(folder: Path) -> dict[str, Any]:
    """Settings of the training in a folder, to go on with; none where there is no training."""
    return load_checkpoint(folder).config.model_dump(mode="json") if (folder / DESCRIPTION).is_file() else {}


def _check_same(there: Checkpoint, description: Mapping[str, Any]) -> None:
    """Refuse to go on with a training of another configuration or other data."""
    free = {"epochs": None}
    stored = {**there.description["configuration"], **free, "fingerprint": there.description["dataset_fingerprint"]}
    wanted = {**description["configuration"], **free, "fingerprint": description["dataset_fingerprint"]}
    if differing := named_differences(stored, json.loads(json.dumps(wanted))):
        raise UsageError(
            f"'{there.folder}' was begun with another configuration ({'; '.join(differing)}); resume with that one, or "
            f"use --overwrite or another --out."
        )


class _Sitting:
    """One sitting of a training, from where its folder says it is."""

    def __init__(self, plan: TrainPlan, out: Path, description: Mapping[str, Any], report: Report) -> None:
        self.plan, self.out, self.description, self.report = plan, out, description, report
        self.training = plan.start()
        self.earlier = 0.0
        if (out / TRAINING).is_file():
            state = load_tensors(out / TRAINING)
            self.earlier = float(state.pop("seconds"))
            self.training.restore(state)
        else:
            with replacing(out / DESCRIPTION) as temporary:
                temporary.write_text(json.dumps(description, indent=1))
        self.first = self.training.step
        self.begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Training time, that of earlier sittings included."""
        return self.earlier + time.perf_counter() - self.begin

    def run(self, max_seconds: float, save_seconds: float) -> None:
        """Train to the end, or for as long as there is; an interrupt is heard between two steps, after a checkpoint."""
        training, fetched, saved = self.training, self.begin, self.begin
        with interrupts_held() as interrupted:
            while training.step < training.total_steps and self.seconds < max_seconds and not interrupted():
                training.run_step()
                now = time.perf_counter()
                if now - fetched > FETCH_SECONDS or now - saved > save_seconds:
                    fetched = now
                    self.fetch()
                if now - saved > save_seconds:
                    saved = now
                    self.save()
            self.fetch()
            self.save()

    def fetch(self) -> None:
        """Fetch the losses from the device, see that they are finite, and report."""
        training = self.training
        known = len(training.losses)
        training.flush()
        bad = [step for step, loss in enumerate(training.losses[known:], known) if not math.isfinite(loss)]
        if bad:
            kept = (self.out / WEIGHTS).is_file()
            raise MosaicError(
                f"The loss became {training.losses[bad[0]]} at step {bad[0] + 1} of {training.total_steps}. "
                + (f"The last good checkpoint is kept in '{self.out}'. " if kept else "No checkpoint was made yet. ")
                + f"Train anew with a smaller --learning-rate (it was {training.config.learning_rate:g}) or "
                "--precision float32."
            )
        recent, seconds = training.losses[-100:], time.perf_counter() - self.begin
        images = (training.step - self.first) / training.steps_per_epoch * len(training.dataset)
        self.report(
            TrainProgress(
                step=training.step,
                steps=training.total_steps,
                epoch=training.step / training.steps_per_epoch,
                loss=sum(recent) / len(recent) if recent else math.nan,
                seconds=self.seconds,
                images_per_second=images / seconds,
            )
        )

    def save(self) -> None:
        """Store the averaged weights, the state that the training is resumed from, and the losses."""
        training = self.training
        state = training.state()
        if not all(bool(torch.isfinite(value).all()) for value in state.values()):
            return  # the next loss tells
        facts = {
            "step": training.step,
            "epoch": training.step / training.steps_per_epoch,
            "seconds": self.seconds,
            "loss": float(np.mean(training.losses[-100:])),
        }
        average = {name: value for name, value in state.items() if name.startswith("average.")}
        # First what is used, then what the training goes on from: a kill between the two loses nothing.
        save_tensors(
            {name.removeprefix("average."): value for name, value in average.items()}, self.out / WEIGHTS, facts
        )
        save_tensors({**state, "seconds": torch.tensor(self.seconds)}, self.out / TRAINING, facts)
        write_netcdf(self.history(), self.out / LOSS)

    def history(self) -> xr.Dataset:
        """Loss and learning rate of every step."""
        training = self.training
        steps = np.arange(1, training.step + 1)
        rates = [training.learning_rate(step) for step in range(training.step)]
        variables = {
            "loss": (
                "step",
                np.asarray(training.losses, dtype=np.float32),
                {"long_name": "mean squared error of eps", "units": "1"},
            ),
            "learning_rate": ("step", rates, {"long_name": "learning rate", "units": "1"}),
        }
        epochs = steps / training.steps_per_epoch
        coords = {
            "step": ("step", steps, {"long_name": "training step", "units": "1"}),
            "epoch": ("step", epochs, {"long_name": "passes over the training set", "units": "1"}),
        }
        attributes = {"schema": HISTORY_SCHEMA, "description": json.dumps(self.description)}
        return xr.Dataset(variables, coords, attributes)


def train(
    network: str = "resnet",
    dataset: str | DataSet = "digits",
    *,
    out: str | PathLike[str],
    resume: bool = False,
    overwrite: bool = False,
    max_time: str | None = None,
    save_every: str = "30s",
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    report: Report = no_report,
    **settings: Any,
) -> Checkpoint:
    """Train a network, as `mosaic train` does.

    Parameters
    ----------
    network : str
        A registered name.
    dataset : str or DataSet
        A registered name, or a data set.
    out : path
        Folder of the checkpoint.
    resume, overwrite : bool
        Go on with the training there; or replace it.
    max_time : str, optional
        Stop after this much training, such as "10m".
    save_every : str
        Time between two checkpoints: what a kill can lose at most.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    report : callable
        Called with a `TrainProgress` a few times a second.
    **settings
        Any field of `TrainConfig`: epochs=50, learning_rate=1e-3, network_options={"channels": 64}, ...

    Returns
    -------
    Checkpoint
        For the score model `network`: score_options={"checkpoint": str(out)}.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    MosaicError
        If the loss turns NaN or infinite.

    References
    ----------
    Kamb & Ganguli 2025, app. C.1.
    """
    if resume and overwrite:
        raise UsageError("resume and overwrite exclude each other.")
    images = None if isinstance(dataset, str) else dataset
    names = {"network": network, "dataset": dataset if isinstance(dataset, str) else dataset.name}
    limit = math.inf if max_time is None else parse_seconds(max_time)
    folder = Path(out).expanduser()
    begun = settings_begun(folder) if resume else {}
    plan = prepare_training([begun, names, settings], data_access(data_dir, download), images)
    return execute_training(
        plan,
        folder,
        resume=resume,
        overwrite=overwrite,
        max_seconds=limit,
        save_seconds=parse_seconds(save_every, "save_every"),
        report=report,
    )
