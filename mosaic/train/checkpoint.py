"""Checkpoints: a trained network as a folder of safetensors weights and a JSON description; nothing is pickled.

    checkpoint.json        what was trained, on what, how; written once, when the training starts
    weights.safetensors    the averaged weights: what is used
    training.safetensors   everything that the training is resumed from
    loss.nc                the loss of every step

That of a network from elsewhere (`mosaic.convert`) has the first two only: how it was trained is not known.

Each file is written under a temporary name and moved into place, so that after a kill the previous file is still whole.
The training resumes from training.safetensors alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mosaic.device import standard_torch
from mosaic.errors import DataError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.function_model import Convention
from mosaic.interfaces.html import table
from mosaic.interfaces.schedule import NoiseSchedule
from mosaic.progress import printable
from mosaic.registry.loading import registry
from mosaic.storage.document import parse_document
from mosaic.storage.schema import CHECKPOINT_SCHEMA
from mosaic.train.config import NetworkConfig, TrainConfig

__all__ = [
    "DESCRIPTION",
    "LOSS",
    "TRAINING",
    "WEIGHTS",
    "Checkpoint",
    "build_network",
    "load_checkpoint",
    "load_tensors",
    "save_tensors",
]

Size = Annotated[int, Field(strict=True, ge=1, le=10**9)]

USED = {"network", "network_options", "schedule", "schedule_options"}  # of a configuration, beside the weights

CHECKSUM = "sha256"  # an entry of a safetensors file's metadata, of its tensors and other entries
DESCRIPTION, WEIGHTS, TRAINING, LOSS = "checkpoint.json", "weights.safetensors", "training.safetensors", "loss.nc"


class _Description(BaseModel):
    """The entries of checkpoint.json that are read; it holds more."""

    configuration: TrainConfig
    shape: tuple[Size, Size, Size]
    classes: tuple[str, ...]
    dataset_size: Size
    dataset_fingerprint: str
    convention: Convention = Field(default_factory=Convention)  # that of all networks before it was stored


class _Converted(_Description):
    """Those of a network from elsewhere."""

    configuration: NetworkConfig  # type: ignore[assignment]  # what is known is less
    converted: dict[str, Any]
    convention: Convention


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """A trained network; where a path is taken, that of its folder.

    Attributes
    ----------
    folder : Path
        Where it is.
    description : mapping
        What checkpoint.json holds, but for its checksum.
    config : NetworkConfig
        The network, its data and its schedule; of a network that was trained here a `TrainConfig`, with the rest.
    convention : Convention
        What the network is told of the noise, and what it predicts: eps if it was trained here.
    """

    folder: Path
    description: Mapping[str, Any]
    config: NetworkConfig
    convention: Convention = field(default_factory=Convention)

    def __repr__(self) -> str:
        return printable(f"Checkpoint('{self.folder}', {self.config.network} on {self.config.dataset})")

    def _repr_html_(self) -> str:
        config, (channels, height, width) = self.config, self.shape
        trained, loss = self._account()
        options = ", ".join(f"{name} {value}" for name, value in config.network_options.items())
        count = self.description["dataset_size"]
        rows = {
            "network": f"{config.network} ({options})" if options else config.network,
            "data set": f"{config.dataset}, {count} images of {channels} x {height} x {width}",
            "classes": ", ".join(self.classes) or None,
            "schedule": config.schedule,
            "trained": trained,
            "loss": loss,
        }
        return table(f"Checkpoint '{self.folder}'", rows)

    def _account(self) -> tuple[str, str | None]:
        """How long the network was trained, and its last loss, in words."""
        if self.converted is not None:
            return f"elsewhere; converted from {self.converted.get('file')}", None
        try:
            done = self.progress()
            epochs = f"{done['epoch']:.1f} of {self.description['configuration'].get('epochs')} epochs"
            loss = f"{done['loss']:.4f} (mean of the last 100 steps)"
        except (DataError, KeyError):  # it has no weights yet, or they are another program's
            return "not known: no weights that can be read", None
        return f"{epochs}, {done['step']:.0f} steps, {done['seconds']:.0f} s", loss

    def __fspath__(self) -> str:
        return str(self.folder)

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
    def converted(self) -> Mapping[str, Any] | None:
        """Where a network from elsewhere came from, and what of it is assumed; None if it was trained here."""
        origin: Mapping[str, Any] | None = self.description.get("converted")
        return origin

    @property
    def is_conditional(self) -> bool:
        """Whether the network is given labels: its option `class_conditional`, False where it has none."""
        return bool(self.config.network_options.get("class_conditional", False))

    def make_schedule(self) -> NoiseSchedule:
        """Make the schedule it was trained with, from its name and options."""
        schedule: NoiseSchedule = registry().make("schedule", self.config.schedule, self.config.schedule_options)
        return schedule

    def receptive_field(self) -> int | None:
        """Side of the window of pixels that a pixel of the network's output depends on; None for the whole image."""
        return _network(self.config).receptive_field()  # type: ignore[no-any-return]

    def fingerprint(self) -> str:
        """Read the weights, and give their SHA-256; of a network from elsewhere, also of how they are used."""
        return self._fingerprint(load_tensors(self._weights()))

    def _fingerprint(self, state: Mapping[str, Tensor]) -> str:
        digest = hashlib.sha256()
        _add_tensors(digest, state)
        if self.converted is not None:  # the same file can be converted with another padding or schedule
            config = self.config.model_dump(mode="json", include=USED)
            used = [config, self.convention.model_dump(mode="json")]
            digest.update(json.dumps(used, sort_keys=True).encode())
        return digest.hexdigest()

    def progress(self) -> dict[str, float]:
        """Read how many steps, epochs and seconds of training are behind the weights, and their last loss.

        Nothing is known of a network from elsewhere.

        Raises
        ------
        DataError
            If there are no weights, or they cannot be read.
        """
        path = self._weights()
        try:
            with safe_open(path, framework="pt") as file:
                return {key: float(value) for key, value in file.metadata().items() if key != CHECKSUM}
        except (OSError, SafetensorError, AttributeError, ValueError) as error:
            raise DataError(f"Weights '{path}' cannot be read ({error}).") from None

    def _weights(self) -> Path:
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise DataError(
                f"Checkpoint '{self.folder}' holds no {WEIGHTS}: its training has not reached the first one, or it was "
                f"not copied; resume the training at '{self.folder}'."
            )
        return path

    @standard_torch()
    def load(self) -> nn.Module:
        """Build the network with its averaged weights, float32, on the CPU.

        Raises
        ------
        DataError
            If the weights are missing, truncated, of another network, or hold NaN or infinity.
        UsageError, PluginError
            If the network or one of its options is unknown here.
        """
        return self._module(load_tensors(self._weights()))

    @standard_torch()
    def load_with_fingerprint(self) -> tuple[nn.Module, str]:
        """Give what `load` and `fingerprint` give, of the same weights even if the file is replaced in the meantime."""
        state = load_tensors(self._weights())
        return self._module(state), self._fingerprint(state)

    def _module(self, state: Mapping[str, Tensor]) -> nn.Module:
        module, path = build_network(self.config, self.shape[0], len(self.classes)), self.folder / WEIGHTS
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise DataError(f"Weights '{path}' are of another network: {reason}") from None
        bad = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
        if bad:
            raise DataError(f"Weights '{path}' hold NaN or infinity (in {bad[0]}); make the checkpoint again.")
        return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _network(config: NetworkConfig) -> Any:
    return registry().make("network", config.network, config.network_options)


@standard_torch()
def build_network(config: NetworkConfig, channels: int, classes: int, seed: int | None = None) -> nn.Module:
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


@checked()
def load_checkpoint(folder: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint's description; its weights are read by `Checkpoint.load`. `~` is the home folder.

    Raises
    ------
    DataError
        If the folder is not a checkpoint.
    """
    folder = Path(folder).expanduser()
    path = folder / DESCRIPTION
    try:
        if not folder.is_dir():
            raise DataError(f"There is no checkpoint folder '{folder}'; training a network makes one.")
        if not path.is_file():
            raise DataError(f"'{folder}' is not a checkpoint: it holds no {DESCRIPTION}.")
        description = parse_document(path.read_bytes())
        known = (_Converted if "converted" in description else _Description).model_validate(description)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"'{path}' cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{path}' cannot be read ({error}).") from None
    if description.get("schema") != CHECKPOINT_SCHEMA:
        raise DataError(f"'{path}' has the schema '{description.get('schema')}', not '{CHECKPOINT_SCHEMA}'.")
    return Checkpoint(folder, description, known.configuration, known.convention)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file: tensors by name, on the CPU.

    Raises
    ------
    DataError
        If it is truncated, otherwise unreadable, or does not hold what was written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(file.metadata() or {})
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"'{path}' cannot be read ({error}); it may be truncated.") from None
    written = facts.pop(CHECKSUM, None)  # a file that another program has written has none
    if written is not None and written != _checksum(tensors, facts):
        raise DataError(f"'{path}' is damaged: its numbers are not those that were written.")
    return tensors


def save_tensors(tensors: Mapping[str, Tensor], temporary: Path, facts: Mapping[str, float]) -> None:
    """Write tensors to a temporary path of `replacing`, as a safetensors file with numbers as its metadata."""
    texts = {key: repr(value) for key, value in facts.items()}
    temporary.write_bytes(save(dict(tensors), {**texts, CHECKSUM: _checksum(tensors, texts)}))


def _checksum(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    _add_tensors(digest, tensors)
    return digest.hexdigest()


def _add_tensors(digest: hashlib._Hash, tensors: Mapping[str, Tensor]) -> None:
    """Add names, types, shapes and values to a digest."""
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
