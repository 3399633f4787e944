"""A training session: it continues from the state in its folder until it stops, and saves checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from mosaic.device import interrupts_held
from mosaic.disk.atomic import replacing, write_together
from mosaic.errors import DataError, MosaicError
from mosaic.progress import Progress, silent
from mosaic.storage.document import document_text
from mosaic.storage.files import as_attribute, store
from mosaic.storage.schema import HISTORY_SCHEMA, described
from mosaic.train.checkpoint import DESCRIPTION, LOSS, TRAINING, WEIGHTS, load_tensors, save_tensors
from mosaic.train.step import Training

__all__ = ["Summary", "TrainingSession"]

# Seconds between two fetches of the losses: each fetch waits for the device.
FETCH_SECONDS = 0.2


@dataclass(frozen=True)
class Summary:
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
        Training time, that of earlier sessions included.
    images_per_second : float
        Throughput of this session.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    seconds: float
    images_per_second: float


class TrainingSession:
    """A session of a training.

    Parameters
    ----------
    training : Training
        Not started.
    folder : Path
        Of the checkpoint.
    description : mapping
        What checkpoint.json holds.
    progress : callable
        Called with the images trained a few times a second.
    """

    def __init__(
        self, training: Training, folder: Path, description: Mapping[str, Any], progress: Progress = silent
    ) -> None:
        self.training, self.folder, self.description, self.progress = training, folder, description, progress
        self.earlier, self.replaces, self.max_seconds = 0.0, False, math.inf
        self.first, self.begin = training.step, time.perf_counter()
        self.replaceable: Collection[Path] = ()  # what appears in the folder before the first checkpoint is another's

    def start(self, *, resumes: bool) -> None:
        """Write checkpoint.json, and start the clock.

        Parameters
        ----------
        resumes : bool
            Whether to restore the training from what is in the folder. If not, a checkpoint there stays until the
            first new one.

        Raises
        ------
        DataError
            If the state in the folder cannot be read.
        """
        self.replaces = not resumes and (self.folder / DESCRIPTION).is_file()
        files = [self.folder / name for name in (TRAINING, WEIGHTS, LOSS, DESCRIPTION)]
        self.replaceable = files if self.replaces else [file for file in files if file.exists()]
        if resumes and (self.folder / TRAINING).is_file():
            self._restore(load_tensors(self.folder / TRAINING))
        if not self.replaces:
            self._describe()
        self.first, self.begin = self.training.step, time.perf_counter()

    def _restore(self, state: dict[str, torch.Tensor]) -> None:
        try:
            self.earlier = float(state.pop("seconds"))
            self.training.restore(state)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"'{self.folder / TRAINING}' is not a state of this training ({reason}).") from None

    def _text(self) -> str:
        return document_text(self.description)

    def _describe(self) -> None:
        text = self._text()
        if not (self.folder / DESCRIPTION).is_file() or (self.folder / DESCRIPTION).read_text() != text:
            with replacing(self.folder / DESCRIPTION) as temporary:
                temporary.write_text(text)

    def seconds(self) -> float:
        """Training time so far, that of earlier sessions included."""
        return self.earlier + self._own_seconds()

    def _own_seconds(self) -> float:
        return time.perf_counter() - self.begin

    def run(self, max_seconds: float, save_seconds: float) -> Summary:
        """Train to the end, or for so long. An interrupt waits for the step in progress and a checkpoint.

        Raises
        ------
        MosaicError
            If the loss or the weights turn NaN or infinite.
        """
        training, fetched, saved = self.training, self.begin, self.begin
        self.max_seconds = max_seconds
        self._report("starting")
        with interrupts_held() as interrupted:
            while training.step < training.total_steps and self._own_seconds() < max_seconds and not interrupted():
                training.run_step()
                now = time.perf_counter()
                if now - fetched > FETCH_SECONDS or now - saved > save_seconds:
                    fetched = now
                    self.fetch()
                if now - saved > save_seconds:
                    saved = now
                    self.save()
            self.fetch()
            summary = self.summary()  # before the last checkpoint, whose time must not count as training
            if training.step > self.first or not self._has_weights():
                self.save()
        return summary

    def _has_weights(self) -> bool:
        try:
            load_tensors(self.folder / WEIGHTS)
        except DataError:  # missing or damaged; the state has them, too
            return False
        return True

    def summary(self) -> Summary:
        """Say how far the training is, its recent loss and its speed."""
        training, recent = self.training, self.training.losses[-100:]
        images = (training.step - self.first) / training.steps_per_epoch * len(training.dataset)
        return Summary(
            step=training.step,
            steps=training.total_steps,
            epoch=training.step / training.steps_per_epoch,
            loss=sum(recent) / len(recent) if recent else math.nan,
            seconds=self.seconds(),
            images_per_second=images / self._own_seconds(),
        )

    def fetch(self) -> None:
        """Fetch the losses from the device, fail if one is not finite, and report progress."""
        training = self.training
        known = len(training.losses)
        training.flush()
        for step, loss in enumerate(training.losses[known:], known + 1):
            if not math.isfinite(loss):
                self._fail(f"The loss became {loss} at step {step} of {training.total_steps}.")
        now = self.summary()
        self._report(f"epoch {now.epoch:.1f}, loss {now.loss:.4f}, {now.images_per_second:.0f} images/s")

    def _report(self, note: str) -> None:
        """Report images of the whole training; this session ends with its steps or its time, whichever is sooner."""
        training, total = self.training, len(self.training.dataset) * self.training.config.epochs
        before, left = self.first / training.total_steps, training.total_steps - self.first
        share = max((training.step - self.first) / max(1, left), self._own_seconds() / self.max_seconds)
        self.progress((before + (1 - before) * min(1.0, share)) * total, total, "image", note)

    def _fail(self, what: str) -> None:
        kept = (self.folder / WEIGHTS).is_file()
        raise MosaicError(
            f"{what} "
            + (f"The last good checkpoint is kept in '{self.folder}'. " if kept else "No checkpoint was made yet. ")
            + f"Train again with a smaller `learning_rate` (it was {self.training.config.learning_rate:g}) or "
            "`precision` float32."
        )

    def save(self) -> None:
        """Store the averaged weights, the state that the training is resumed from, and the losses."""
        training, folder = self.training, self.folder
        state = training.state()
        if not all(bool(torch.isfinite(value).all()) for value in state.values()):
            self._fail(f"The weights became NaN or infinite by step {training.step} of {training.total_steps}.")
        numbers = {
            "step": training.step,
            "epoch": training.step / training.steps_per_epoch,
            "seconds": self.seconds(),
            "loss": float(np.mean(training.losses[-100:])) if training.losses else math.nan,
        }
        average = {name: value for name, value in state.items() if name.startswith("average.")}
        weights = {name.removeprefix("average."): value for name, value in average.items()}
        seconds = torch.tensor(self.seconds(), dtype=torch.float32, device="cpu")
        # All are written, then moved into place, the last one first. The state that a training resumes from comes last:
        # after a kill between, it is older than the weights, and the steps since are repeated exactly. The losses come
        # before the weights, which say how far the training is.
        writers: dict[Path, Callable[[Path], object]] = {
            folder / TRAINING: lambda file: save_tensors({**state, "seconds": seconds}, file, numbers),
            folder / WEIGHTS: lambda file: save_tensors(weights, file, numbers),
            folder / LOSS: lambda file: store(self.history(), file),
        }
        if self.replaces:
            writers[folder / DESCRIPTION] = lambda file: file.write_text(self._text())
        write_together(writers, self.replaceable, self._remove_replaced if self.replaces else lambda: None)
        self.replaces, self.replaceable = False, writers.keys()

    def _remove_replaced(self) -> None:
        for name in (TRAINING, WEIGHTS, LOSS):  # after a kill now there are the old weights or nothing, never a mixture
            (self.folder / name).unlink(missing_ok=True)

    def history(self) -> xr.Dataset:
        """Loss and learning rate of every step."""
        training = self.training
        steps = np.arange(1, training.step + 1)
        losses = np.asarray(training.losses, dtype=np.float32)
        history = xr.Dataset(
            {"loss": ("step", losses), "learning_rate": ("step", np.asarray(training.rates))},
            {"step": ("step", steps), "epoch": ("step", steps / training.steps_per_epoch)},
            {"description": as_attribute(self.description)},
        )
        return described(history, HISTORY_SCHEMA)
