"""One sitting of a training: from where its folder says it is to where it stops, with checkpoints on the way."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mosaic.checkpoint import DESCRIPTION, LOSS, TRAINING, WEIGHTS, load_tensors, save_tensors
from mosaic.errors import DataError, MosaicError
from mosaic.interrupts import interrupts_held
from mosaic.store import replacing, write_netcdf
from mosaic.training import Training

__all__ = ["HISTORY_SCHEMA", "Report", "Sitting", "TrainProgress", "no_report"]

HISTORY_SCHEMA = "mosaic-training/1"

# Losses are fetched from the device this often: each fetch waits for it.
FETCH_SECONDS = 0.2


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


class Sitting:
    """One sitting of a training.

    Parameters
    ----------
    training : Training
        Not begun; it is restored from the folder where `resumes`.
    folder : Path
        Of the checkpoint.
    description : mapping
        What checkpoint.json holds.
    resumes : bool
        Whether to go on with what is in the folder. If not, a checkpoint there stays until the first new one.
    report : callable
        Called with a `TrainProgress` a few times a second.

    Raises
    ------
    DataError
        If the state in the folder cannot be read.
    """

    def __init__(
        self, training: Training, folder: Path, description: Mapping[str, Any], resumes: bool, report: Report
    ) -> None:
        self.training, self.folder, self.description, self.report = training, folder, description, report
        self.earlier, self.replaces = 0.0, not resumes and (folder / DESCRIPTION).is_file()
        if resumes and (folder / TRAINING).is_file():
            self._restore(load_tensors(folder / TRAINING))
        if not self.replaces:
            self._describe()
        self.first, self.begin = training.step, time.perf_counter()

    def _restore(self, state: dict[str, torch.Tensor]) -> None:
        try:
            self.earlier = float(state.pop("seconds"))
            self.training.restore(state)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"'{self.folder / TRAINING}' is no state of this training ({reason}).") from None

    def _describe(self) -> None:
        text = json.dumps(self.description, indent=1)
        if not (self.folder / DESCRIPTION).is_file() or (self.folder / DESCRIPTION).read_text() != text:
            with replacing(self.folder / DESCRIPTION) as temporary:
                temporary.write_text(text)

    @property
    def seconds(self) -> float:
        """Training time, that of earlier sittings included."""
        return self.earlier + time.perf_counter() - self.begin

    def run(self, max_seconds: float, save_seconds: float) -> None:
        """Train to the end, or for as long as there is; an interrupt is heard between two steps, after a checkpoint.

        Raises
        ------
        MosaicError
            If the loss or the weights turn NaN or infinite.
        """
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
            if training.step > self.first or not (self.folder / WEIGHTS).is_file():
                self.save()

    def fetch(self) -> None:
        """Fetch the losses from the device, see that they are finite, and report."""
        training = self.training
        known = len(training.losses)
        training.flush()
        for step, loss in enumerate(training.losses[known:], known + 1):
            if not math.isfinite(loss):
                self._fail(f"The loss became {loss} at step {step} of {training.total_steps}.")
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

    def _fail(self, what: str) -> None:
        kept = (self.folder / WEIGHTS).is_file()
        raise MosaicError(
            f"{what} "
            + (f"The last good checkpoint is kept in '{self.folder}'. " if kept else "No checkpoint was made yet. ")
            + f"Train anew with a smaller --learning-rate (it was {self.training.config.learning_rate:g}) or "
            "--precision float32."
        )

    def save(self) -> None:
        """Store the averaged weights, the state that the training is resumed from, and the losses."""
        training, folder = self.training, self.folder
        state = training.state()
        if not all(bool(torch.isfinite(value).all()) for value in state.values()):
            self._fail(f"The weights became NaN or infinite by step {training.step} of {training.total_steps}.")
        if self.replaces:  # the state first: what is left is the old checkpoint, then none
            for name in (TRAINING, LOSS, WEIGHTS):
                (folder / name).unlink(missing_ok=True)
            self._describe()
            self.replaces = False
        facts = {
            "step": training.step,
            "epoch": training.step / training.steps_per_epoch,
            "seconds": self.seconds,
            "loss": float(np.mean(training.losses[-100:])) if training.losses else math.nan,
        }
        average = {name: value for name, value in state.items() if name.startswith("average.")}
        # First what is used, then what the training goes on from: a kill between the two loses nothing.
        save_tensors({name.removeprefix("average."): value for name, value in average.items()}, folder / WEIGHTS, facts)
        save_tensors({**state, "seconds": torch.tensor(self.seconds)}, folder / TRAINING, facts)
        write_netcdf(self.history(), folder / LOSS)

    def history(self) -> xr.Dataset:
        """Loss and learning rate of every step."""
        training = self.training
        steps = np.arange(1, training.step + 1)
        losses = np.asarray(training.losses, dtype=np.float32)
        variables = {
            "loss": ("step", losses, {"long_name": "mean squared error of eps", "units": "1"}),
            "learning_rate": ("step", np.asarray(training.rates), {"long_name": "learning rate", "units": "1"}),
        }
        epochs = steps / training.steps_per_epoch
        coords = {
            "step": ("step", steps, {"long_name": "training step", "units": "1"}),
            "epoch": ("step", epochs, {"long_name": "passes over the training set", "units": "1"}),
        }
        attributes = {"schema": HISTORY_SCHEMA, "description": json.dumps(self.description)}
        return xr.Dataset(variables, coords, attributes)
