"""The score models that take part in a leaderboard, their runs, and the metrics that judge them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from mosaic.errors import MosaicError, UsageError
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.metric import Metric
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.train.checkpoint import Checkpoint, boundary_of

__all__ = ["Participants", "metrics_of", "network_run", "participants_of", "theory_run"]


@dataclass(frozen=True)
class Participants:
    """Names of the theories that take part, and of those left out, with the reason."""

    theories: tuple[str, ...]
    left_out: dict[str, str]


def participants_of(config: LeaderboardConfig) -> Participants:
    """Resolve `scores`.

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
    names = [name.strip() for name in config.scores.split(",") if name.strip() not in ("", network)]
    if not names:
        raise UsageError(f"`scores` '{config.scores}' names no theory; give a list such as els,is, or all.")
    for name in set(config.score_options) - {network, *names}:
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


def network_run(config: LeaderboardConfig, checkpoint: Checkpoint) -> RunConfig:
    """The run of the checkpoint's network: it has no scales, and `network_steps` instead of `steps`."""
    score = registry().checkpoint_score()
    options = {"checkpoint": str(checkpoint.folder), **config.score_options.get(score, {})}
    return _run(config, checkpoint).model_copy(
        update={"score": score, "score_options": options, "scales": None, "steps": config.network_steps}
    )


def theory_run(config: LeaderboardConfig, checkpoint: Checkpoint, name: str, dataset: DataSet) -> RunConfig:
    """The run of a theory: on the data, with the schedule, and with the boundary of the training."""
    options = {**boundary_of(checkpoint, registry().get("score", name)), **config.score_options.get(name, {})}
    scales = config.scales if _has_scale(name, options, dataset) else None
    return _run(config, checkpoint).model_copy(update={"score": name, "score_options": options, "scales": scales})


def _has_scale(name: str, options: dict[str, object], dataset: DataSet) -> bool:
    try:
        return bool(registry().make("score", name, options, dataset).traits.has_scale)
    except MosaicError:
        return False  # reported when it is run


def _run(config: LeaderboardConfig, checkpoint: Checkpoint) -> RunConfig:
    """The settings that all runs share, so that they start from the same noise and labels."""
    trained = checkpoint.config
    return RunConfig(
        dataset=trained.dataset,
        dataset_options={**trained.dataset_options, **config.dataset_options},
        schedule=trained.schedule,
        schedule_options=trained.schedule_options,
        labels=config.labels or ("random" if checkpoint.is_conditional else "none"),
        **{name: getattr(config, name) for name in ("samples", "seed", "device", "scales", "steps")},
    )


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
