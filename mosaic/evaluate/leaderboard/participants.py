"""The score models that take part in a leaderboard, their runs, and the metrics that judge them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mosaic.engine.windows import check_window_size
from mosaic.errors import MosaicError, UsageError, did_you_mean
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.metric import Metric
from mosaic.interfaces.schedule import Level
from mosaic.interfaces.score import ScoreModel, Traits
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.configuration import OTHERS
from mosaic.run.score import Score, is_registered, name_of
from mosaic.sampling.scales import resolve_scales
from mosaic.storage.schema import NETWORK
from mosaic.train.runs import NetworkRuns

__all__ = [
    "OWN",
    "STEPS",
    "TABLE",
    "Participants",
    "check_scales",
    "check_theories",
    "has_scale",
    "metrics_of",
    "participants_of",
    "run_of_network",
    "run_of_object",
    "run_of_theory",
    "scales_at",
]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""Of a theory that is an object; its files are named after it."""

TABLE, STEPS, OWN = "leaderboard", "-steps", "-own"
"""Name of the table's file, and what is added to an entry's name for that of its single steps along the flow of a
network, and for those of a network along the entry's own flow."""

TAKEN = re.compile(rf"{NETWORK}-\d+|.*({STEPS}|{OWN})(-\d+)?", re.IGNORECASE)
"""Names of files and entries that no theory may have."""


@dataclass(frozen=True)
class Participants:
    """Names of the theories that take part, and of those left out, with the reason."""

    theories: tuple[str, ...]
    left_out: dict[str, str]


def participants_of(config: LeaderboardConfig, is_object: bool = False, more: bool = False) -> Participants:
    """Resolve `scores`; `is_object` if the network is an object, `more` if theories that are objects take part, too.

    Raises
    ------
    UsageError, PluginError
        If a score model is unknown, or has options that it cannot use.
    """
    plugins, network = registry(), registry().checkpoint_score()
    for name in config.score_options:
        plugins.get("score", name)
    if config.scores == "all":
        return _all_that_can(config, [name for name in plugins.names("score") if name != network])
    names = [name.strip() for name in config.scores.split(",") if name.strip() not in ("", network, "none")]
    if not names and not more:
        raise UsageError(f"`scores` '{config.scores}' names no theory; give a list such as els,is, or all.")
    for name in set(config.score_options) - {*names, *([] if is_object else [network])}:
        raise UsageError(f"There are options of '{name}', a score model that `scores` leaves out.")
    for name in names:
        plugins.parse("score", name, config.score_options.get(name, {}))
    return Participants(tuple(dict.fromkeys(names)), {})


def _all_that_can(config: LeaderboardConfig, names: list[str]) -> Participants:
    """Leave out score models that need options which are not given."""
    plugins, theories, left_out = registry(), [], {}
    for name in names:
        if name in config.score_options:
            plugins.parse("score", name, config.score_options[name])
        try:
            plugins.get("score", name).Options.model_validate(config.score_options.get(name, {}))
        except ValidationError as error:
            missing = ", ".join(f"`{name}.{entry['loc'][0]}=VALUE`" for entry in error.errors() if entry["loc"])
            left_out[name] = f"it needs {missing}"
        else:
            theories.append(name)
    return Participants(tuple(theories), left_out)


def run_of_network(config: LeaderboardConfig, network: NetworkRuns) -> RunConfig:
    """Configure the network's run: it has no scales, and `network_steps` instead of `steps`."""
    options = {} if network.is_object else config.score_options.get(network.score, {})
    return network.own(score_options=options, steps=config.network_steps, **_shared(config))


def run_of_theory(
    config: LeaderboardConfig,
    network: NetworkRuns,
    name: str,
    dataset: DataSet,
    tried: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Configure the run of a theory: on the data, with the schedule, and with the boundary of the network.

    `tried` are values of options that are to be chosen.
    """
    options = {**network.boundary_for(name), **config.score_options.get(name, {}), **(tried or {})}
    traits = _traits_of(name, options, dataset)
    scales = config.scales_of(name) if traits.has_scale else None
    return network.beside(score=name, score_options=options, scales=scales, steps=config.steps, **_shared(config))


def run_of_object(config: LeaderboardConfig, network: NetworkRuns, name: str, theory: Score) -> RunConfig:
    """Configure the run of a theory that is an object; its own scales go before the leaderboard's."""
    model = theory.model
    scales = (theory.scales or config.scales_of(name)) if model.traits.has_scale else None
    options = model.options.model_dump(mode="json")
    return network.beside(
        score=name_of(model), score_options=options, scales=scales, steps=config.steps, **_shared(config)
    )


def check_theories(theories: Mapping[str, Score], named: Collection[str], dataset: DataSet) -> None:
    """Refuse theories that are objects, by their names, if they cannot stand beside the others.

    Raises
    ------
    UsageError
        If a name is not one, or another theory's, or a theory has another training set than the network.
    """
    taken = {name.casefold() for name in (NETWORK, registry().checkpoint_score(), TABLE, *named)}
    for name, theory in theories.items():
        if not NAME.fullmatch(name) or TAKEN.fullmatch(name):
            raise UsageError(
                f"`theories` has the name '{name}'; a name is made of letters, digits, '.', '_' and '-', is not "
                f"{NETWORK}-2 and the like, and does not end in {STEPS} or {OWN}."
            )
        if name.casefold() in taken:
            raise UsageError(f"`theories` has the name '{name}', which is taken already; use another.")
        taken.add(name.casefold())
        if name in registry().names("score") and not (is_registered(theory.model) and theory.model.name == name):
            raise UsageError(f"`theories` calls '{name}' what is not this score model; use another name.")
        if theory.model.dataset.fingerprint() != dataset.fingerprint():
            raise UsageError(
                f"`theories`: '{name}' has other training images ('{theory.model.dataset.name}') than the network "
                f"('{dataset.name}'); make it on the network's: mosaic.score(..., dataset)."
            )


def check_scales(config: LeaderboardConfig, runs: Mapping[str, RunConfig], theories: Mapping[str, Score]) -> None:
    """Refuse scales of score models that do not use them; `theories` are objects, `runs` those of all theories.

    Raises
    ------
    UsageError
        If there are.
    """
    if not isinstance(config.scales, dict):
        return
    others = list(runs)
    for name in config.scales.keys() - {OTHERS}:
        if name not in others:
            raise UsageError(
                f"`scales` names '{name}', which takes no part.{did_you_mean(name, others)} Theories: "
                f"{', '.join(others)}; '{OTHERS}' stands for all others."
            )
        if runs[name].scales is None:
            raise UsageError(f"`scales` names '{name}', which has no locality scale; leave it out.")
        if name in theories and theories[name].scales is not None:
            raise UsageError(f"`scales` names '{name}', which has scales of its own; leave it out.")


def scales_at(
    run: RunConfig, levels: Sequence[Level], dataset: DataSet, model: ScoreModel | None = None
) -> list[float] | None:
    """Give the scales of a run at levels, in rising order of noise; `model` if its score model is an object.

    Raises
    ------
    UsageError
        If they cannot be read, or are no window sizes where they must be.
    """
    if run.scales is None:
        return None
    traits = _traits_of(run.score, run.score_options, dataset) if model is None else model.traits
    scales = resolve_scales(run.scales, levels, traits.has_continuous_scale)
    if not traits.has_continuous_scale:
        try:
            for scale in scales:
                check_window_size(scale)
        except UsageError as error:
            raise UsageError(f"`scales` cannot be used for '{run.score}'. {error}") from None
    return list(scales)


def has_scale(run: RunConfig, dataset: DataSet, model: ScoreModel | None = None) -> bool:
    """Tell whether the score model of a run has a locality scale; `model` if it is an object."""
    traits = _traits_of(run.score, run.score_options, dataset) if model is None else model.traits
    return traits.has_scale


def _traits_of(name: str, options: Mapping[str, Any], dataset: DataSet) -> Traits:
    try:
        model: ScoreModel = registry().make("score", name, options, dataset)
        return model.traits
    except MosaicError:
        return Traits()  # reported when it is run


def _shared(config: LeaderboardConfig) -> dict[str, Any]:
    """Settings of all runs, so that they start from the same noise and labels."""
    names = ("samples", "seed", "device", "labels", "dataset", "dataset_options", "sampler_options")
    return {name: getattr(config, name) for name in names}


def metrics_of(config: LeaderboardConfig, dataset: DataSet) -> dict[str, Metric]:
    """Make the metrics, by their names; the first one decides the ranks.

    Raises
    ------
    UsageError, PluginError
        If one is unknown, or does not compare images with others.
    """
    known = registry().agreement_metrics()
    names = known if config.metrics is None else [name.strip() for name in config.metrics.split(",") if name.strip()]
    if not names:
        raise UsageError(f"`metrics` '{config.metrics}' names none; give a list such as {','.join(known[:2])}.")
    for name in names:
        if not registry().get("metric", name).compares:
            raise UsageError(f"`metrics`: '{name}' does not compare images with those of the network; leave it out.")
    return {name: registry().make("metric", name, {}, dataset) for name in names}
