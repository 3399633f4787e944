"""Checkpoints: a trained network as a folder of safetensors weights and a JSON description; nothing is pickled.

    checkpoint.json        what was trained, on what, how; written once, when the training begins
    weights.safetensors    the averaged weights: what is used
    training.safetensors   everything needed to go on with the training
    loss.nc                the loss of every step

Each file is written under a temporary name and moved into place, so that a kill leaves the last one whole. The
training goes on from training.safetensors alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mosaic.errors import DataError
from mosaic.plugins import registry
from mosaic.schedule import NoiseSchedule
from mosaic.store import replacing
from mosaic.train_config import TrainConfig

__all__ = ["SCHEMA", "Checkpoint", "build_network", "load_checkpoint", "load_tensors", "save_tensors"]

SCHEMA = "mosaic-checkpoint/1"
Size = Annotated[int, Field(strict=True, ge=1, le=10**9)]

DESCRIPTION, WEIGHTS, TRAINING, LOSS = "checkpoint.json", "weights.safetensors", "training.safetensors", "loss.nc"


class _Description(BaseModel):
    """What is read of checkpoint.json; there is more in it."""

    configuration: TrainConfig
    shape: tuple[Size, Size, Size]
    classes: tuple[str, ...]
    dataset_size: Size
    dataset_fingerprint: str


@dataclass(frozen=True)
class Checkpoint:
    """A trained network.

    Attributes
    ----------
    folder : Path
        Where it is.
    description : mapping
        What checkpoint.json holds.
    config : TrainConfig
        How it was trained.
    """

    folder: Path
    description: Mapping[str, Any]
    config: TrainConfig

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of the images it was trained on."""
        channels, height, width = self.description["shape"]
        return channels, height, width

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the network is given; empty where it is given none."""
        return tuple(self.description["classes"]) if self.is_conditional else ()

    @property
    def is_conditional(self) -> bool:
        """Whether the network is given labels."""
        return bool(self.config.network_options.get("class_conditional", False))

    @cached_property
    def schedule(self) -> NoiseSchedule:
        """The schedule it was trained with."""
        kind: type[NoiseSchedule] = registry().get("schedule", self.config.schedule)
        return kind(kind.Options.parse(self.config.schedule_options, f"schedule.{self.config.schedule}"))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights: two checkpoints are the same network exactly if these agree."""
        digest = hashlib.sha256()
        for name, value in sorted(load_tensors(self._weights).items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def receptive_field(self) -> int | None:
        """Side of the window of pixels that a pixel of the network's output depends on; None for the whole image."""
        return _network(self.config).receptive_field()  # type: ignore[no-any-return]

    @property
    def progress(self) -> dict[str, float]:
        """Steps, epochs and seconds of training behind the weights, and their last loss.

        Raises
        ------
        DataError
            If there are no weights, or they cannot be read.
        """
        try:
            with safe_open(self._weights, framework="pt") as file:
                return {key: float(value) for key, value in file.metadata().items()}
        except (OSError, SafetensorError, AttributeError, ValueError) as error:
            raise DataError(f"Weights '{self._weights}' cannot be read ({error}).") from None

    @property
    def _weights(self) -> Path:
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise DataError(
                f"Checkpoint '{self.folder}' holds no {WEIGHTS}: its training has not reached the first one, or it was "
                f"not copied; go on with mosaic train --resume --out '{self.folder}'."
            )
        return path

    def load(self) -> nn.Module:
        """Build the network with its averaged weights, float32, on the CPU.

        Raises
        ------
        DataError
            If the weights are missing, truncated, of another network, or hold NaN or infinity.
        UsageError, PluginError
            If the network or one of its options is unknown here.
        """
        module = build_network(self.config, self.shape[0], len(self.classes))
        state = load_tensors(self._weights)
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise DataError(f"Weights '{self._weights}' are of another network: {reason}") from None
        bad = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
        if bad:
            raise DataError(f"Weights '{self._weights}' hold NaN or infinity (in {bad[0]}); train the network anew.")
        return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _network(config: TrainConfig) -> Any:
    kind = registry().get("network", config.network)
    return kind(kind.Options.parse(config.network_options, f"network.{config.network}"))


def build_network(config: TrainConfig, channels: int, classes: int, seed: int | None = None) -> nn.Module:
    """Build the untrained network of a configuration; with a seed its weights repeat.

    Raises
    ------
    UsageError, PluginError
        If the network or one of its options is unknown.
    """
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        module: nn.Module = _network(config).build(channels, classes)
    return module


def load_checkpoint(folder: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint's description; its weights are read by `Checkpoint.load`.

    Raises
    ------
    DataError
        If the folder is no checkpoint.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION
    if not folder.is_dir():
        raise DataError(f"There is no checkpoint folder '{folder}'; mosaic train --out '{folder}' makes one.")
    if not path.is_file():
        raise DataError(f"'{folder}' is no checkpoint: it holds no {DESCRIPTION}.")
    try:
        description = json.loads(path.read_text())
        found = _Description.model_validate(description)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"'{path}' cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{path}' cannot be read ({type(error).__name__}: {error}).") from None
    if description.get("schema") != SCHEMA:
        raise DataError(f"'{path}' has the schema '{description.get('schema')}', not '{SCHEMA}'.")
    return Checkpoint(folder, description, found.configuration)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises
    ------
    DataError
        If it is truncated or otherwise unreadable.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"'{path}' cannot be read ({error}); it may be truncated.") from None


def save_tensors(tensors: Mapping[str, Tensor], path: Path, facts: Mapping[str, float]) -> None:
    """Write tensors as a safetensors file at one stroke, with numbers as its metadata."""
    with replacing(path) as temporary:
        temporary.write_bytes(save(dict(tensors), {key: repr(value) for key, value in facts.items()}))
