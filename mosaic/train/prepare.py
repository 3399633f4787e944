"""From settings to a plan of a training: names resolved, data loaded, everything checked."""

from __future__ import annotations

import re
from typing import Any

import torch

from mosaic.device import chosen_device, multiplies_bfloat16, standard_torch
from mosaic.errors import UsageError, shown
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.network import Network
from mosaic.interfaces.schedule import NoiseSchedule
from mosaic.registry.data import load_dataset
from mosaic.registry.loading import registry
from mosaic.run.settings import layered
from mosaic.train.config import TrainConfig
from mosaic.train.output import CheckpointOutput
from mosaic.train.plan import TrainPlan

__all__ = ["parse_seconds", "prepare_training"]

LONGEST = 1e12  # seconds, of any training


def parse_seconds(text: str | float, setting: str) -> float:
    """Read a time such as 90s, 10m, 1h30m, or a number of seconds, for a setting of this name.

    Raises
    ------
    UsageError
        If it is not a time above 0.
    """
    if isinstance(text, str):
        match = re.fullmatch(r"\s*(?:(\d{1,6})h)?\s*(?:(\d{1,6})m)?\s*(?:(\d{1,9}(?:\.\d{1,3})?)s?)?\s*", text)
        hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
        total = 3600 * hours + 60 * minutes + seconds
    else:
        total = min(text, LONGEST)  # an integer may be too large for a float
    if not total > 0:
        raise UsageError(
            f"`{setting}` {shown(text)} is not a valid time; write 90s, 10m, 1h30m or a number of seconds."
        )
    return total


@standard_torch()
def prepare_training(
    config: TrainConfig, access: DataAccess, *, dataset: DataSet | None = None, output: CheckpointOutput | None = None
) -> TrainPlan:
    """Resolve a configuration; what it was not given is as the data set declares, else the general default.

    Parameters
    ----------
    config : TrainConfig
        What is asked for; which settings were given counts (`model_fields_set`).
    access : DataAccess
        Where data may be found.
    dataset : DataSet, optional
        Object to use in place of `config.dataset`.
    output : CheckpointOutput, optional
        Where the training is to be kept; refused here if it cannot be.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    if output is not None:
        output.check()
    names = registry()
    names.get("network", config.network)  # before the data are read, which can take long
    if dataset is None:
        dataset = load_dataset(config.dataset, config.dataset_options, access)
    # Only now are the data set's own defaults known; what was given goes over them.
    config = layered(TrainConfig, _defaults_of(dataset, config.network), config.model_dump(exclude_unset=True))
    network: Network = names.make("network", config.network, config.network_options)
    network.check(dataset.shape)
    if not network.convention.trains_eps:
        raise UsageError(
            f"Network '{config.network}' is not one that predicts eps at the time t or at a timestep, so it is not "
            "trained here: `mosaic.convert` takes weights of it. Use another `network`."
        )
    schedule: NoiseSchedule = names.make("schedule", config.schedule, config.schedule_options)
    device = chosen_device(config.device, "float32", dataset.images.device)
    resolved = {
        "network_options": network.options.model_dump(mode="json"),
        "dataset_options": dict(dataset.options) or config.dataset_options,
        "schedule_options": schedule.options.model_dump(mode="json"),
        "device": str(device),
        "precision": _precision(config.precision, device),
    }
    plan = TrainPlan(config.model_copy(update=resolved), dataset.to(device), network, schedule, dataset.notes)
    if plan.is_conditional and dataset.labels is None:
        raise UsageError(f"Data set '{dataset.name}' has no labels; use `network.class_conditional=false`.")
    return plan


def _defaults_of(dataset: DataSet, network: str) -> dict[str, Any]:
    """Settings that a data set declares to suit it, with those of the network."""
    defaults = dict(dataset.training)
    networks = defaults.pop("networks", {})
    return {**defaults, "network": network, "network_options": networks.get(network, {})}


def _precision(wanted: str, device: torch.device) -> str:
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and multiplies_bfloat16() else "float32"
