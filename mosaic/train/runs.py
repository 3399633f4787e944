"""Runs beside a training: on its data, with its schedule and boundary, and with labels where the network has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic.interfaces.score import ScoreModel
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.train.config import NetworkConfig

__all__ = ["boundary_of", "labels_of", "network_run", "run_beside"]


def run_beside(
    trained: NetworkConfig,
    *,
    labels: str | None = None,
    dataset: str | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> RunConfig:
    """Configure a run that can be compared with the network of a training.

    Parameters
    ----------
    trained : NetworkConfig
        The network, its data and its schedule, with every default filled in.
    labels : str, optional
        As for a run; by default those of `labels_of`.
    dataset, dataset_options : optional
        Another training set, and its options; or options that go over those of the training.
    **settings
        More fields of `RunConfig`.
    """
    return RunConfig(
        dataset=dataset or trained.dataset,
        dataset_options={**(trained.dataset_options if dataset is None else {}), **(dataset_options or {})},
        schedule=trained.schedule,
        schedule_options=trained.schedule_options,
        labels=labels or labels_of(trained),
        **settings,
    )


def network_run(
    trained: NetworkConfig, folder: Path | str, *, score_options: Mapping[str, Any] | None = None, **settings: Any
) -> RunConfig:
    """Configure the run of the network itself, whose checkpoint is in `folder`; `settings` as for `run_beside`."""
    options = {"checkpoint": str(folder), **(score_options or {})}
    return run_beside(trained, score=registry().checkpoint_score(), score_options=options, **settings)


def labels_of(trained: NetworkConfig) -> str:
    """Give the setting `labels` of a run: random for a network that is given classes, else none."""
    return "random" if trained.network_options.get("class_conditional", False) else "none"


def boundary_of(trained: NetworkConfig, kind: type[ScoreModel]) -> dict[str, str]:
    """Give the boundary that suits a network: its padding, where it has one and the score model has the option."""
    padding = trained.network_options.get("padding")
    return {"boundary": padding} if padding is not None and "boundary" in kind.Options.model_fields else {}
