"""The networks of a leaderboard: one, or several trainings of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from mosaic.errors import UsageError
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.participants import run_of_network
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.registry.loading import registry
from mosaic.run.memory import access_within
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.score import Score
from mosaic.storage.job import differences
from mosaic.storage.schema import NETWORK
from mosaic.train.checkpoint import Checkpoint, load_checkpoint
from mosaic.train.runs import NetworkRuns, network_runs

__all__ = ["Network", "ending", "network_names", "networks_of", "prepare_networks"]

Network = str | Checkpoint | Score
"""What a network is given as."""


def network_names(count: int) -> list[str]:
    """Names of the entries of networks: network, network-2, network-3, ..."""
    return [f"{NETWORK}{ending(place)}" for place in range(count)]


def ending(place: int) -> str:
    """What follows a name, of a file or entry, that belongs to the network at this place: nothing of the first."""
    return f"-{place + 1}" if place else ""


def networks_of(config: LeaderboardConfig, given: Sequence[Network], access: DataAccess) -> list[NetworkRuns]:
    """Resolve the networks, which must be trainings of one network.

    Raises
    ------
    UsageError, PluginError, DataError
        If one is not a network, or they differ in more than their training.
    """
    runs = [
        network_runs(each, access, dataset=config.dataset, dataset_options=config.dataset_options) for each in given
    ]
    facts = [_facts_of(each) for each in runs]
    for name, other in zip(config.checkpoint[1:], facts[1:], strict=True):
        if differing := differences(facts[0], other):
            texts = "; ".join(text.replace(", now ", " and ") for text in differing)
            raise UsageError(
                f"`checkpoint`: '{config.checkpoint[0]}' and '{name}' are not trainings of one network; they differ in "
                f"{texts}. Give such as differ only in how they were trained."
            )
    return runs


def _facts_of(runs: NetworkRuns) -> dict[str, Any]:
    """What trainings of one network share: what the board rests on."""
    model = runs.model
    shared: dict[str, Any] = {
        "schedule": runs.settings["schedule"],
        "schedule_options": _options("schedule", runs.settings["schedule"], runs.settings["schedule_options"]),
        "padding": runs.padding,
        "labels": runs.labels,
    }
    if runs.score == registry().checkpoint_score():
        checkpoint = load_checkpoint(runs.score_options["checkpoint"])
        config = checkpoint.config
        return {
            **shared,
            "network": config.network,
            "network_options": _options("network", config.network, config.network_options),
            "convention": checkpoint.convention.model_dump(mode="json"),
            "training images": checkpoint.description["dataset_fingerprint"],
        }
    paths = () if model is None else model.path_options
    return {
        **shared,
        "network": runs.score,
        "network_options": {name: value for name, value in runs.score_options.items() if name not in paths},
        "training images": None if model is None else model.dataset.fingerprint(),
    }


def _options(kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a plugin with their defaults."""
    values: dict[str, Any] = registry().parse(kind, name, options).model_dump(mode="json")
    return values


def prepare_networks(
    config: LeaderboardConfig, networks: Sequence[NetworkRuns], access: DataAccess, memory: str | float | None
) -> list[Plan]:
    """Prepare the run of each network, all on one training set.

    Raises
    ------
    UsageError
        If a network is given twice; and as `prepare`.
    """
    plans: list[Plan] = []
    dataset: DataSet | None = None
    for network in networks:
        images = dataset if network.model is None else network.model.dataset
        run = run_of_network(config, network)
        plans.append(prepare(run, access_within(access, memory), score=network.model, dataset=images, memory=memory))
        dataset = plans[0].dataset
    prints = [plan.model.traits.fingerprint() for plan in plans]
    for first, second in combinations(range(len(plans)), 2):
        if prints[first] is not None and prints[first] == prints[second]:
            raise UsageError(
                f"`checkpoint`: '{config.checkpoint[first]}' and '{config.checkpoint[second]}' are the same network; "
                "give each training once."
            )
    return plans
