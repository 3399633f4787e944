"""From settings to a training ready to start: names resolved, data loaded, everything checked."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mosaic.checkpoint import DESCRIPTION, SCHEMA, build_network, load_checkpoint
from mosaic.config import layered
from mosaic.dataset import DataAccess, DataSet
from mosaic.entry import core_digest
from mosaic.errors import UsageError
from mosaic.network import Network
from mosaic.plan import chosen_device
from mosaic.plugins import registry
from mosaic.processor import multiplies_bfloat16
from mosaic.runner import versions_of
from mosaic.schedule import NoiseSchedule
from mosaic.train_config import TrainConfig
from mosaic.training import Training

__all__ = ["TrainPlan", "describe_training", "parse_seconds", "prepare_training", "settings_begun"]


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


def parse_seconds(text: str | float, option: str = "--max-time") -> float:
    """Read a time such as 90s, 10m, 1h30m, or a number of seconds.

    Raises
    ------
    UsageError
        If it is no time above 0.
    """
    if isinstance(text, str):
        found = re.fullmatch(r"\s*(?:(\d{1,6})h)?\s*(?:(\d{1,6})m)?\s*(?:(\d{1,9}(?:\.\d{1,3})?)s?)?\s*", text)
        hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
        total = 3600 * hours + 60 * minutes + seconds
    else:
        total = float(text)
    if not total > 0:
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
        "code": core_digest(),
        "versions": versions_of({kind: getattr(plan.config, kind) for kind in ("network", "dataset", "schedule")}),
    }


def settings_begun(folder: Path) -> dict[str, Any]:
    """Settings of the training in a folder, to go on with; none where there is no training."""
    return load_checkpoint(folder).config.model_dump(mode="json") if (folder / DESCRIPTION).is_file() else {}
