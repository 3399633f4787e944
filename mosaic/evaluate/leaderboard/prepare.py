"""From a configuration to a leaderboard: who takes part, their runs and files, everything checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mosaic.errors import UsageError, did_you_mean
from mosaic.evaluate.leaderboard.board import Board
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.entries import Entries
from mosaic.evaluate.leaderboard.networks import Network, network_names, networks_of, prepare_networks
from mosaic.evaluate.leaderboard.participants import (
    check_scales,
    check_theories,
    metrics_of,
    participants_of,
    run_of_object,
    run_of_theory,
)
from mosaic.evaluate.leaderboard.tuning import combinations_of
from mosaic.interfaces.data_source import DataAccess
from mosaic.run.score import Score, check_resumable
from mosaic.storage.files import check_reachable

__all__ = ["prepare_leaderboard"]


def prepare_leaderboard(
    config: LeaderboardConfig,
    out: Path,
    access: DataAccess,
    memory: str | float | None = None,
    *,
    networks: Sequence[Network] | None = None,
    theories: Mapping[str, Score] | None = None,
) -> Board:
    """Resolve who takes part, metrics and files.

    Parameters
    ----------
    config : LeaderboardConfig
        What is asked for.
    out : Path
        Folder of all files.
    access : DataAccess
        Where data may be found.
    memory : str, optional
        What each process may take, such as 2G; by default a quarter of what the machine has.
    networks : sequence of path, Checkpoint or Score, optional
        What to use in place of `config.checkpoint`, one by one.
    theories : mapping, optional
        Theories that are objects, by the names they get, besides those of `config.scores`.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    check_reachable(out)
    runs_of = networks_of(config, config.checkpoint if networks is None else networks, access)
    first, objects = runs_of[0], theories or {}
    provisional = _with_first_values(config)
    participants = participants_of(provisional, first.is_object, bool(objects))
    combinations = combinations_of(config, participants.theories)
    plans = prepare_networks(config, runs_of, access, memory)
    dataset, metrics = plans[0].dataset, metrics_of(config, plans[0].dataset)
    check_theories(objects, participants.theories, dataset)
    runs = {name: run_of_theory(provisional, first, name, dataset) for name in participants.theories}
    runs |= {name: run_of_object(config, first, name, theory) for name, theory in objects.items()}
    check_scales(config, runs, objects)
    names = network_names(len(runs_of))
    models = {name: theory.model for name, theory in objects.items()}
    models |= {name: each.model for name, each in zip(names, runs_of, strict=True) if each.is_object and each.model}
    make = Entries(config, out, access, memory, plans, models)
    of_networks = make.networks(runs_of)
    tuning = make.tuning(runs_of, combinations)
    board = Board(
        config=config,
        folder=out,
        dataset=dataset,
        networks=of_networks,
        theories={
            **{name: make.theory(name, run) for name, run in runs.items()},
            **({} if tuning is None else {name: tuning.of(name)[0].entry for name in tuning.theories}),
        },
        across=make.across(of_networks, list(runs)),
        metrics=metrics,
        left_out=participants.left_out,
        tuned={name: make.how_tuned(name, run, combinations.get(name, [{}])[0]) for name, run in runs.items()},
        given=_given(config, list(runs)),
        tuning=tuning,
        objects=models,
    )
    for name, model in models.items():
        # The single steps of all are along the networks' flows, and some of the networks' along a theory's.
        files = [file for entry in board.work.values() for file in entry.files]
        if name not in names:
            own = board.entries[name]
            files = own.files + [entry.steps_along(own.out) for entry in board.across.values()]
        check_resumable(model, files)
    return board


def _with_first_values(config: LeaderboardConfig) -> LeaderboardConfig:
    """Set options that are to be chosen to their first values: a score model may need them to take part."""
    listed = [name.strip() for name in config.scores.split(",")]
    options = {name: dict(each) for name, each in config.score_options.items()}
    for name, tried in config.tune.items():
        if config.scores == "all" or name in listed:  # others are refused
            firsts = {option: values[0] for option, values in tried.items() if values}
            options[name] = {**firsts, **options.get(name, {})}
    return config.model_copy(update={"score_options": options})


def _given(config: LeaderboardConfig, theories: Sequence[str]) -> str | None:
    """Name of the theory beyond which others are asked what they add.

    Raises
    ------
    UsageError
        If it takes no part.
    """
    if config.given in (None, "none"):
        return "els" if config.given is None and "els" in theories else None
    if config.given not in theories:
        hint = did_you_mean(str(config.given), theories)
        raise UsageError(f"`given` names '{config.given}', which takes no part.{hint} Theories: {', '.join(theories)}.")
    return config.given
