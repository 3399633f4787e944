"""From a configuration to a leaderboard: who takes part, their runs and files, everything checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mosaic.evaluate.leaderboard.board import Board
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry
from mosaic.evaluate.leaderboard.participants import (
    STEPS,
    check_scales,
    check_theories,
    metrics_of,
    participants_of,
    run_of_network,
    run_of_object,
    run_of_theory,
    scales_at,
)
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.sampler import levels_at
from mosaic.run.memory import access_within
from mosaic.run.prepare import prepare
from mosaic.run.score import Score, check_resumable
from mosaic.storage.files import check_reachable
from mosaic.storage.made_by import command_line, versions_of
from mosaic.storage.schema import NETWORK
from mosaic.train.checkpoint import Checkpoint
from mosaic.train.runs import network_runs

__all__ = ["prepare_leaderboard"]


def prepare_leaderboard(
    config: LeaderboardConfig,
    out: Path,
    access: DataAccess,
    memory: str | float | None = None,
    *,
    network: Checkpoint | Score | None = None,
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
    network : Checkpoint or Score, optional
        Network to use in place of `config.checkpoint`.
    theories : mapping, optional
        Theories that are objects, by the names they get, besides those of `config.scores`.

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    check_reachable(out)
    given = config.checkpoint if network is None else network
    runs_of = network_runs(given, access, dataset=config.dataset, dataset_options=config.dataset_options)
    theories = theories or {}
    participants = participants_of(config, runs_of.is_object, bool(theories))
    runs = {NETWORK: run_of_network(config, runs_of)}
    images = None if runs_of.model is None else runs_of.model.dataset
    plan = prepare(runs[NETWORK], access_within(access, memory), score=runs_of.model, dataset=images)
    dataset, metrics = plan.dataset, metrics_of(config, plan.dataset)
    check_theories(theories, participants.theories, dataset)
    runs |= {name: run_of_theory(config, runs_of, name, dataset) for name in participants.theories}
    runs |= {name: run_of_object(config, runs_of, name, theory) for name, theory in theories.items()}
    check_scales(config, runs, theories)
    objects = {name: theory.model for name, theory in theories.items()}
    if runs_of.is_object and runs_of.model is not None:
        objects[NETWORK] = runs_of.model
    levels = levels_at(plan.schedule, plan.sampler.times(plan.schedule, config.steps))[::-1]
    facts = {"checkpoint": plan.model.traits.fingerprint(), "dataset": dataset.fingerprint()}
    entries = {
        name: LeaderboardEntry(
            run=run.model_copy(update={"dataset_options": plan.config.dataset_options}),
            **_files(out, name),
            moments=config.steps,
            data_dir=access.root,
            memory=memory,
            command_line=command_line(),
            facts={
                **facts,
                "versions": versions_of(run, plan.model.traits.plugins() if name == NETWORK else ()),
                "scales": scales_at(run, levels, dataset, objects.get(name)),
                **({} if name not in objects else {"score": objects[name].traits.fingerprint()}),
            },
        )
        for name, run in runs.items()
    }
    for name, model in objects.items():
        # The single steps of all are along the network's flow.
        theirs = entries.values() if name == NETWORK else [entries[name]]
        check_resumable(model, [file for entry in theirs for file in (entry.out, entry.steps)])
    return Board(config, out, dataset, entries, metrics, participants.left_out, objects)


def _files(folder: Path, name: str) -> dict[str, Path]:
    stem = name.replace(":", "-")  # as in names of plugins
    return {"out": folder / f"{stem}.nc", "along": folder / f"{NETWORK}.nc", "steps": folder / f"{stem}{STEPS}.nc"}
