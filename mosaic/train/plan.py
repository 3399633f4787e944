"""A training that is ready to start, and what is recorded of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.network import Network
from mosaic.interfaces.schedule import NoiseSchedule
from mosaic.storage.made_by import made_by, versions_of
from mosaic.storage.schema import CHECKPOINT_SCHEMA
from mosaic.train.checkpoint import build_network
from mosaic.train.config import TrainConfig
from mosaic.train.step import Training

__all__ = ["TrainPlan", "describe_training"]


@dataclass(frozen=True)
class TrainPlan:
    """A training, resolved and checked.

    Attributes
    ----------
    config : TrainConfig
        With every default filled in; device and precision are no longer `auto`.
    dataset : DataSet
        Training images (N, C, H, W), on the device.
    network : Network
        The network to build, with its options.
    schedule : NoiseSchedule
        Noise levels to train on.
    notes : tuple of str
        What the user should know before the training starts.
    """

    config: TrainConfig
    dataset: DataSet
    network: Network
    schedule: NoiseSchedule
    notes: tuple[str, ...] = ()

    @property
    def is_conditional(self) -> bool:
        """Whether the network is given labels: its option `class_conditional`, False where it has none."""
        return bool(getattr(self.network.options, "class_conditional", False))

    @property
    def steps(self) -> int:
        """Optimizer steps over all epochs; what a resumed training has done already counts."""
        return self.config.total_steps(len(self.dataset))

    def build(self) -> Training:
        """Build the untrained network, on the device."""
        classes = len(self.dataset.classes) if self.is_conditional else 0
        module = build_network(self.config, self.dataset.shape[0], classes, self.config.seed)
        module = module.to(self.dataset.images.device)
        convention = self.network.convention
        return Training(self.config, module, self.schedule, self.dataset, self.is_conditional, convention)


def describe_training(plan: TrainPlan) -> dict[str, Any]:
    """Content of a checkpoint's checkpoint.json, decided before the first step: JSON-serialisable."""
    dataset = plan.dataset
    return {
        "schema": CHECKPOINT_SCHEMA,
        "configuration": plan.config.model_dump(mode="json"),
        "convention": plan.network.convention.model_dump(mode="json"),
        "shape": dataset.shape,
        "classes": dataset.classes,
        "dataset": dataset.name,
        "dataset_size": len(dataset),
        "dataset_fingerprint": dataset.fingerprint(),
        "dataset_source": dataset.origin,
        "versions": versions_of(plan.config),
        **made_by(dataset.images.device),
    }
