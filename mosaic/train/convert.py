"""Networks from elsewhere: a file of weights becomes a checkpoint, which every command and function takes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.disk.atomic import remove_temporaries, write_together
from mosaic.disk.failures import write_error
from mosaic.disk.lock import locked
from mosaic.errors import DataError, UsageError, warn_of
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.network import ForeignWeights, Network
from mosaic.registry.data import data_access, load_dataset
from mosaic.registry.loading import registry
from mosaic.run.settings import layered, refuse_unused
from mosaic.storage.document import document_text
from mosaic.storage.made_by import made_by, versions_of
from mosaic.storage.schema import CHECKPOINT_SCHEMA
from mosaic.train.checkpoint import (
    DESCRIPTION,
    WEIGHTS,
    Checkpoint,
    build_network,
    load_checkpoint,
    save_tensors,
)
from mosaic.train.config import NetworkConfig
from mosaic.train.output import CheckpointOutput
from mosaic.train.weights_file import read_weights

__all__ = ["convert", "convert_file"]

SHOWN = 4  # names in a message


@checked(NetworkConfig)
def convert(
    file: str | PathLike[str],
    dataset: str | DataSet,
    *,
    out: str | PathLike[str],
    overwrite: bool = False,
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    **settings: Any,
) -> Checkpoint:
    """Make a checkpoint of weights that another program saved, as `mosaic convert` does.

    Parameters
    ----------
    file : path
        Safetensors, or what torch.save writes of a `state_dict`: tensors alone. Nothing in it is ever run.
    dataset : str or DataSet
        What the network was trained on, a registered name or a data set: its shape and classes must fit the weights.
    out : path
        Folder of the checkpoint.
    overwrite : bool
        Replace the checkpoint there.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    **settings
        Any field of `NetworkConfig`: `network` by default is what the weights are recognised as, `schedule` that of
        their family. `network_options` are those that weights do not show, such as {"padding": "circular"}.

    Returns
    -------
    Checkpoint
        For every command and function that takes one. Its `converted` says where the weights came from, and what is
        assumed of them, which is also warned of.

    Raises
    ------
    DataError
        If the file cannot be read, holds NaN, or no network plugin knows its weights.
    UsageError
        If the weights are not those of the network that they seem to be, or do not fit the data set.
    """
    images = dataset if isinstance(dataset, DataSet) else None
    if images is not None:
        unused = {"dataset_options": settings.get("dataset_options"), "data_dir": data_dir, "download": download}
        refuse_unused(unused, "the data set is not a name")
    config = layered(NetworkConfig, {"dataset": images.name if images is not None else dataset, **settings})
    output = CheckpointOutput(Path(out).expanduser(), overwrite=overwrite)
    access = data_access(data_dir, download)
    checkpoint, notes = convert_file(Path(file).expanduser(), config, access, output, dataset=images)
    warn_of(notes)
    return checkpoint


@standard_torch()
def convert_file(
    file: Path,
    config: NetworkConfig,
    access: DataAccess,
    output: CheckpointOutput,
    *,
    dataset: DataSet | None = None,
) -> tuple[Checkpoint, list[str]]:
    """Convert a file by a configuration, of which what was not given is recognised; give notes on what is assumed.

    Raises
    ------
    UsageError, DataError, PluginError
        As `convert`; nothing has been written by then.
    """
    if "dataset" not in config.model_fields_set:
        raise UsageError("`dataset` is missing: name the data set that the network was trained on, such as mnist.")
    output.check(resumable=False)
    replaceable = output.replaceable()  # what appears in the folder from now on is another's
    weights, entry = read_weights(file)
    name, foreign = _recognised(file, weights, config)
    if dataset is None:
        dataset = load_dataset(config.dataset, config.dataset_options, access)
    _check_data(file, foreign, dataset)
    used = _resolved(config, name, foreign, dataset)
    state = _state(file, weights, foreign, used)
    assumed = _assumed(config, used, foreign)
    _write(output.path, _described(file, entry, foreign, used, assumed, dataset), state, replaceable)
    place = f"in entry '{entry}' of" if entry else "of"
    notes = [f"The weights {place} '{file.name}' were recognised as {foreign.family}, network '{name}'."]
    if assumed:
        texts = ", ".join(f"`{key}={value}`" if "." in key else f"`{key}` {value}" for key, value in assumed.items())
        notes.append(f"The weights do not tell {texts}: this is assumed; convert again if it was something else.")
    return load_checkpoint(output.path), notes


def _resolved(config: NetworkConfig, name: str, foreign: ForeignWeights, dataset: DataSet) -> NetworkConfig:
    """Give every setting: those given, else those recognised, else the defaults; the network must take the images."""
    network: Network = registry().make("network", name, {**foreign.options, **config.network_options})
    network.check(dataset.shape)
    schedule_name = config.schedule if "schedule" in config.model_fields_set else foreign.schedule
    schedule = registry().make("schedule", schedule_name, config.schedule_options)
    return NetworkConfig(
        network=name,
        dataset=config.dataset,
        schedule=schedule_name,
        network_options=network.options.model_dump(mode="json"),
        dataset_options=dict(dataset.options) or config.dataset_options,
        schedule_options=schedule.options.model_dump(mode="json"),
    )


def _described(
    file: Path,
    entry: str,
    foreign: ForeignWeights,
    used: NetworkConfig,
    assumed: Mapping[str, Any],
    dataset: DataSet,
) -> dict[str, Any]:
    """Content of checkpoint.json."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "schema": CHECKPOINT_SCHEMA,
        "configuration": used.model_dump(mode="json"),
        "convention": foreign.convention.model_dump(mode="json"),
        "converted": {
            "family": foreign.family,
            "file": file.name,
            "sha256": digest,
            "entry": entry,
            "assumed": assumed,
            "training": "unknown",
        },
        "shape": dataset.shape,
        "classes": dataset.classes,
        "dataset": dataset.name,
        "dataset_size": len(dataset),
        "dataset_fingerprint": dataset.fingerprint(),
        "dataset_source": dataset.origin,
        "versions": versions_of(used),
        **made_by(),
    }


def _recognised(file: Path, weights: Mapping[str, Tensor], config: NetworkConfig) -> tuple[str, ForeignWeights]:
    """Give the network whose weights these are, and what it makes of them."""
    plugins = registry()
    names = [config.network] if "network" in config.model_fields_set else plugins.names("network")
    names = list({plugins.get("network", name): name for name in names}.values())  # a class may have aliases
    known = {name: plugins.get("network", name).recognise(weights) for name in names}
    found = {name: foreign for name, foreign in known.items() if foreign is not None}
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        raise UsageError(f"The weights in '{file}' may be those of {' or '.join(found)}; say which with `network`.")
    raise DataError(
        f"The weights in '{file}' ({_listed(weights)}) are not known to {', '.join(names)}. A network plugin can say "
        "what they are (mosaic.Network.recognise), and mosaic.score takes the network itself, as a module."
    )


def _check_data(file: Path, foreign: ForeignWeights, dataset: DataSet) -> None:
    """Refuse a data set with other channels, sides or classes than those of the weights."""
    channels, *sides = dataset.shape
    if channels != foreign.channels:
        raise UsageError(
            f"The network in '{file}' takes images of {foreign.channels} channels, but data set '{dataset.name}' has "
            f"{channels}; name the `dataset` that it was trained on."
        )
    if foreign.sides is not None and tuple(sides) != foreign.sides:
        raise UsageError(
            f"The network in '{file}' takes images of {foreign.sides[0]} x {foreign.sides[1]} pixels, but those of "
            f"data set '{dataset.name}' have {sides[0]} x {sides[1]}; name the `dataset` that it was trained on, with "
            "its options."
        )
    if foreign.classes and foreign.classes != len(dataset.classes):
        raise UsageError(
            f"The network in '{file}' is given one of {foreign.classes} classes, but data set '{dataset.name}' has "
            f"{len(dataset.classes)}; name the `dataset` that it was trained on."
        )


def _state(
    file: Path, weights: Mapping[str, Tensor], foreign: ForeignWeights, config: NetworkConfig
) -> dict[str, Tensor]:
    """Give the weights under the network's own names, float32."""
    wanted = build_network(config, foreign.channels, foreign.classes).state_dict()
    names = {own: foreign.rename(own) for own in wanted}
    missing = [name for name in names.values() if name not in weights]
    unexpected = sorted(weights.keys() - {*names.values(), *foreign.unused})
    if missing or unexpected:
        parts = [("missing", missing), ("not of this network", unexpected)]
        texts = [f"{len(these)} {what} ({_listed(these)})" for what, these in parts if these]
        raise UsageError(
            f"The weights in '{file}' look like {foreign.family}, but names do not fit: {'; '.join(texts)}. Give the "
            "options of the `network` that they are of, if they differ from those recognised."
        )
    for own, name in names.items():
        if weights[name].shape != wanted[own].shape:
            raise UsageError(
                f"The weights in '{file}' look like {foreign.family}, but '{name}' has the shape "
                f"{tuple(weights[name].shape)} and not {tuple(wanted[own].shape)}; this size is not supported."
            )
        if not bool(torch.isfinite(weights[name]).all()):
            raise DataError(f"'{file}' holds NaN or infinity in '{name}'; use weights of an earlier epoch.")
    return {own: weights[name].to(torch.float32).contiguous().clone() for own, name in names.items()}


def _assumed(given: NetworkConfig, used: NetworkConfig, foreign: ForeignWeights) -> dict[str, Any]:
    """Settings that neither the weights nor the user told."""
    assumed = {f"network.{name}": used.network_options[name] for name in foreign.unseen}
    if foreign.convention.needs_schedule:  # others are told the level, and the schedule only makes their runs
        assumed["schedule"] = used.schedule
    known = {f"network.{name}" for name in given.network_options} | given.model_fields_set
    return {key: value for key, value in assumed.items() if key not in known}


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _write(
    folder: Path, description: Mapping[str, Any], state: Mapping[str, Tensor], replaceable: Collection[Path]
) -> None:
    """Write the checkpoint; what was there is removed only when all of the new one is on the disk."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None

    def remove_replaced() -> None:
        for path in replaceable:
            path.unlink(missing_ok=True)

    with locked(folder, folder):
        remove_temporaries(folder)
        writers = {
            folder / WEIGHTS: lambda temporary: save_tensors(state, temporary, {}),
            folder / DESCRIPTION: lambda temporary: temporary.write_text(document_text(description)),
        }
        write_together(writers, replaceable, remove_replaced)
