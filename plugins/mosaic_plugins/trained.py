"""Trained networks as score models: checkpoints of `mosaic train` and of `mosaic convert`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_plugins.footprint import network_memory

__all__ = ["TrainedNetwork"]


class TrainedNetwork(mosaic.ScoreModel):
    """A network trained by `mosaic train`: x0hat = (x - s eps) / a with the eps that it predicts.

    A converted network may predict something else, by its checkpoint's `mosaic.Convention`. Its runs have the schedule
    that it was trained with, or that its conversion was given.

    References: Ho et al. 2020, eq. 15; Kamb & Ganguli 2025, app. C.1.

    The paper's: x0hat from eps. `mosaic show network NAME` says whose the network is.
    The published code's: converted networks give its numbers (tests/stored/foreign, which says of which programs).
    Ours: nothing.
    """

    name = "network"
    path_options = ("checkpoint",)

    class Options(mosaic.Options):
        """The checkpoint, which decides all else: network, schedule, shape and classes."""

        checkpoint: Path = Field(description="Folder that `mosaic train` or `mosaic convert` wrote.")

    options: Options

    def __init__(self, options: Any, dataset: mosaic.DataSet) -> None:
        super().__init__(options, dataset)
        self._checkpoint: mosaic.Checkpoint | None = None
        self._loaded: tuple[torch.nn.Module, str] | None = None
        self._times: dict[mosaic.Level, float] = {}

    def read_checkpoint(self) -> mosaic.Checkpoint:
        """Read the checkpoint's description, once; refuses a folder that is not a checkpoint."""
        if self._checkpoint is None:
            self._checkpoint = mosaic.load_checkpoint(self.options.checkpoint)
        return self._checkpoint

    @property
    def traits(self) -> mosaic.Traits:
        """Its schedule is the one it was trained with; its fingerprint, that of the weights that it has loaded."""
        return mosaic.Traits(
            schedule=lambda: self.read_checkpoint().make_schedule(),
            fingerprint=lambda: self._load()[1],
            plugins=lambda: [("network", self.read_checkpoint().config.network)],
            memory=self._memory,
        )

    def _time_of(self, level: mosaic.Level) -> float:
        """Give the time of a level on the schedule it was trained with."""
        if level not in self._times:
            self._times[level] = self.read_checkpoint().make_schedule().time(level)
        return self._times[level]

    def load(self) -> torch.nn.Module:
        """Load the network with its averaged weights onto the data set's device, once."""
        return self._load()[0]

    def _load(self) -> tuple[torch.nn.Module, str]:
        """Read the weights, once: the network and their fingerprint, which must not be that of a later training."""
        if self._loaded is None:
            module, fingerprint = self.read_checkpoint().load_with_fingerprint()
            self._loaded = module.to(self.dataset.images.device), fingerprint
        return self._loaded

    def _memory(self, batch: int, scale: float, dtype: torch.dtype, labels: tuple[int, ...]) -> mosaic.Memory | None:
        """The weights, and the tensors that are alive at a time when the network evaluates a batch."""
        is_conditional = self.read_checkpoint().is_conditional
        return network_memory(self.load(), (batch, *self.dataset.shape), dtype, is_conditional)

    @mosaic.standard_torch()
    def denoise(self, x: Tensor, level: mosaic.Level, labels: Tensor | None = None, scale: float = 0) -> Tensor:
        """Give x0hat of x (B, C, H, W); not bounded by the range of the data.

        Raises
        ------
        UsageError
            If its schedule does not have the level, or x or the labels do not fit the network.
        """
        self._refuse((level,), tuple(labels.tolist()) if labels is not None else (-1,))
        checkpoint, module = self.read_checkpoint(), self.load().to(x.dtype)

        def predict(given: Tensor, told: float | mosaic.Level) -> Tensor:
            time = given.new_full((len(given),), float(told))  # type: ignore[arg-type]  # networks are told numbers
            predicted: Tensor = module(given, time, labels if checkpoint.is_conditional else None)
            return predicted

        return checkpoint.convention.denoised(x, level, predict, self._time_of)

    def check(
        self, levels: tuple[mosaic.Level, ...], scales: tuple[float, ...], labels: tuple[int, ...]
    ) -> Sequence[str]:
        """Refuse images, noise levels and labels that the network was not trained for, and unreadable weights."""
        self._refuse(levels, labels)
        self.load()
        return self._notes()

    def _refuse(self, levels: tuple[mosaic.Level, ...], labels: tuple[int, ...]) -> None:
        """Refuse images, noise levels and labels that the network was not trained for."""
        checkpoint, dataset = self.read_checkpoint(), self.dataset
        folder, config = self.options.checkpoint, checkpoint.config
        if dataset.shape != checkpoint.shape:
            raise mosaic.UsageError(
                f"The network in '{folder}' was trained on '{config.dataset}' with images of shape "
                f"{checkpoint.shape}, but data set '{dataset.name}' has shape {dataset.shape} (channels, height, "
                f"width); use {self._its_data()}."
            )
        for level in levels if checkpoint.convention.needs_schedule else ():
            try:
                self._time_of(level)
            except ValueError:
                raise mosaic.UsageError(
                    f"The network in '{folder}' was trained with the schedule '{config.schedule}', which "
                    f"has no {level}."
                ) from None
        if checkpoint.is_conditional and checkpoint.classes != dataset.classes:
            raise mosaic.UsageError(
                f"The network in '{folder}' was trained with the classes {', '.join(checkpoint.classes)}, but data set "
                f"'{dataset.name}' has {', '.join(dataset.classes) or 'none'}; use {self._its_data()}, which it was "
                f"trained on."
            )
        count = len(checkpoint.classes)
        for label in labels:
            if checkpoint.is_conditional and not 0 <= label < count:
                raise mosaic.UsageError(
                    f"The network in '{folder}' was trained with {count} classes and needs one for every sample, not "
                    f"{label}; use `labels` random, or a list of classes from 0 to {count - 1}."
                )
            if not checkpoint.is_conditional and label != -1:
                raise mosaic.UsageError(
                    f"The network in '{folder}' was trained without classes, so label {label} cannot be used; use "
                    f"`labels` none."
                )

    def _its_data(self) -> str:
        """Write how the data that it was trained on are chosen."""
        config = self.read_checkpoint().config
        return mosaic.registry().chosen_text("dataset", config.dataset, config.dataset_options)

    def _notes(self) -> list[str]:
        """Note if the data differ from those it was trained on, and where its training is not known."""
        checkpoint = self.read_checkpoint()
        if checkpoint.converted is not None:
            return [
                f"The network in '{self.options.checkpoint}' was converted from '{checkpoint.converted.get('file')}'; "
                f"whether it was trained on the images of this run's data set is not known."
            ]
        if self.dataset.fingerprint() == checkpoint.description["dataset_fingerprint"]:
            return []
        return [
            f"The network in '{self.options.checkpoint}' was trained on {checkpoint.description['dataset_size']} "
            f"images of '{checkpoint.config.dataset}', which are not those of this run's data set."
        ]


@mosaic.hookimpl
def register_scores(register: mosaic.Register) -> None:
    register(TrainedNetwork)
