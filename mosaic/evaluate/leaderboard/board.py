"""From a trained network to its leaderboard: the entries, which of them are done, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.disk.atomic import make_folder, write_together
from mosaic.disk.lock import OutputInUse
from mosaic.errors import MosaicError, warn_of
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry
from mosaic.evaluate.leaderboard.participants import metrics_of, participants_of, run_of_network, run_of_theory
from mosaic.evaluate.leaderboard.process import execute_in_own_process
from mosaic.evaluate.leaderboard.table import leaderboard_table
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.metric import Metric
from mosaic.interfaces.sampler import levels_at
from mosaic.progress import Progress, piece_of, prefixed, reporting, silent
from mosaic.registry.data import data_access
from mosaic.run.estimate import predict_seconds
from mosaic.run.memory import access_within
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.settings import layered
from mosaic.sampling.scales import resolve_scales
from mosaic.storage.files import as_attribute, check_reachable, open_stored, reusing, store
from mosaic.storage.made_by import code_changed, command_line, made_by, stored_code, versions_of
from mosaic.storage.parts import PartFiles
from mosaic.storage.schema import LEADERBOARD_SCHEMA, NETWORK
from mosaic.train.checkpoint import load_checkpoint
from mosaic.view.images import write_figure
from mosaic.view.leaderboard import draw_leaderboard

__all__ = ["Board", "leaderboard", "prepare_leaderboard", "start"]


@dataclass(frozen=True)
class Board:
    """A leaderboard, resolved and checked.

    Attributes
    ----------
    config : LeaderboardConfig
        As asked for.
    folder : Path
        Where all of it is kept.
    dataset : DataSet
        The network's training set.
    entries : mapping
        By the names of score models; the network first.
    metrics : mapping
        What they are judged by, by their names; the first one decides the ranks.
    left_out : mapping
        Score models that cannot take part, and why.
    """

    config: LeaderboardConfig
    folder: Path
    dataset: DataSet
    entries: Mapping[str, LeaderboardEntry]
    metrics: Mapping[str, Metric]
    left_out: Mapping[str, str]

    @property
    def file(self) -> Path:
        """The stored table; there is no such file before the first leaderboard is finished."""
        return self.folder / "leaderboard.nc"

    def dropped(self) -> list[str]:
        """Name the theories that the stored leaderboard ranks but this one does not."""
        if not self.file.exists():
            return []
        with reusing(), open_stored(self.file, (LEADERBOARD_SCHEMA,), "a leaderboard") as stored:
            return [name for name in stored["score"].values.tolist() if name not in self.entries]

    def plan_unfinished(self) -> dict[str, Plan | None]:
        """Plan the runs of the entries that are not done; None where that fails, which is reported when it is executed.

        Raises
        ------
        ConfigMismatch
            If what is there was made with other settings.
        """
        plans: dict[str, Plan | None] = {}
        for name, entry in self.entries.items():
            if entry.is_done():
                continue
            try:
                plan = entry.prepare(self.dataset)
            except MosaicError:
                plans[name] = None
            else:
                entry.check(plan)
                plans[name] = plan
        return plans

    def made_by_other_code(self) -> list[str]:
        """Name the entries whose stored files were made by other code of mosaic than the code running now."""
        files = {
            name: [file for file in (entry.out, entry.steps) if file.exists()] for name, entry in self.entries.items()
        }
        return [name for name, stored in files.items() if any(code_changed(stored_code(file)) for file in stored)]

    def notes(self, plans: Mapping[str, Plan | None]) -> list[str]:
        """Say what a user should know before the work: what is left out, or used as it is, and the notes of the runs.

        `plans` are those of `plan_unfinished`. A note that several runs have is given once.
        """
        notes = list(self.dataset.notes)
        if dropped := self.dropped():
            notes.append(f"{self.file.name} in '{self.folder}' will no longer rank {', '.join(dropped)}.")
        notes += [f"{name} is left out: {reason}." for name, reason in self.left_out.items()]
        if self.config.scales is not None and all(entry.run.scales is None for entry in self.entries.values()):
            notes.append("No theory here has a locality scale; `scales` is not used.")
        if older := self.made_by_other_code():
            notes.append(f"{', '.join(older)}: what other code of mosaic made is used as it is.")
        runs = {note: name for name, plan in plans.items() if plan is not None for note in plan.notes}
        return notes + [f"{name}: {note}" for note, name in runs.items() if note not in notes]

    def forecast(self, plans: Mapping[str, Plan | None], progress: Progress = silent) -> dict[str, float | None]:
        """Predict the seconds of each analytic machine; 0 if all is done, None if it cannot be predicted.

        `plans` are those of `plan_unfinished`.
        """
        forecast: dict[str, float | None] = dict.fromkeys(self.entries, 0.0)
        for number, (name, plan) in enumerate(plans.items()):
            progress(number, len(plans), "measurement", f"measuring how long {name} will take")
            seconds = None if plan is None else predict_seconds(plan)
            forecast[name] = None if seconds is None else seconds / self.entries[name].flow_share
        return forecast


def prepare_leaderboard(
    config: LeaderboardConfig, out: Path, access: DataAccess, memory: str | float | None = None
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

    Raises
    ------
    UsageError, PluginError, DataError
        With one sentence each; nothing has been written by then.
    """
    check_reachable(out)
    checkpoint = load_checkpoint(Path(config.checkpoint).expanduser())
    participants = participants_of(config)
    runs = {NETWORK: run_of_network(config, checkpoint)}
    network = prepare(runs[NETWORK], access_within(access, memory))
    dataset, metrics = network.dataset, metrics_of(config, network.dataset)
    runs |= {name: run_of_theory(config, checkpoint, name, dataset) for name in participants.theories}
    times = network.sampler.times(network.schedule, config.steps)
    levels = levels_at(network.schedule, times)[::-1]
    scales = None if config.scales is None else list(resolve_scales(config.scales, levels))
    facts = {"checkpoint": checkpoint.fingerprint(), "dataset": dataset.fingerprint()}
    resolved = {"dataset_options": network.config.dataset_options}
    entries = {
        name: LeaderboardEntry(
            run=run.model_copy(update=resolved),
            **_files(out, name),
            moments=config.steps,
            data_dir=access.root,
            memory=memory,
            command_line=command_line(),
            facts={**facts, "versions": versions_of(run), "scales": None if run.scales is None else scales},
        )
        for name, run in runs.items()
    }
    return Board(config, out, dataset, entries, metrics, participants.left_out)


def _files(folder: Path, name: str) -> dict[str, Path]:
    stem = name.replace(":", "-")
    return {"out": folder / f"{stem}.nc", "along": folder / f"{NETWORK}.nc", "steps": folder / f"{stem}-steps.nc"}


def start(board: Board, plans: Mapping[str, Plan | None], progress: Progress = silent) -> xr.Dataset:
    """Execute the entries that are not done (`plans` are those of `plan_unfinished`), compare, store and draw.

    A score model that fails is named in the attribute `failed`, and has no numbers.

    Raises
    ------
    MosaicError
        If the network or all other score models fail, or the leaderboard cannot be written.
    """
    make_folder(board.folder)
    picture = board.file.with_suffix(".png")
    replaceable = [path for path in (board.file, picture) if path.exists()]  # what appears meanwhile is another's
    for name in board.entries.keys() - plans.keys():
        for file in (board.entries[name].out, board.entries[name].steps):
            with suppress(OutputInUse):
                PartFiles(file).clear()  # a kill after the file was written leaves them
    # The network's steps and the theories' comparisons cannot be added up: first the one, then the others.
    _execute({name: plan for name, plan in plans.items() if name == NETWORK}, board, progress)
    failed = _execute({name: plan for name, plan in plans.items() if name != NETWORK}, board, progress)
    if not board.entries.keys() - failed.keys() - {NETWORK}:
        reasons = "; ".join(f"{name} failed: {message}" for name, message in failed.items())
        raise MosaicError(f"Nothing can be ranked. {reasons}")
    with reusing():
        table = leaderboard_table(board.entries, [name for name in board.entries if name not in failed], board.metrics)
    table = table.assign_attrs(_attributes(board, failed))
    figure = draw_leaderboard(table)
    write_together({board.file: partial(store, table), picture: partial(write_figure, figure)}, replaceable)
    return table


def _execute(plans: Mapping[str, Plan | None], board: Board, progress: Progress) -> dict[str, str]:
    """Execute entries, each in a process of its own; gives what those said that failed, but for the network."""
    works = {name: _work_of(plan) / board.entries[name].flow_share for name, plan in plans.items()}
    failed, done, total, unit = {}, 0.0, sum(works.values()), _unit_of(plans)
    for name, work in works.items():
        try:
            execute_in_own_process(board.entries[name], piece_of(prefixed(progress, name), done, work, total, unit))
        except MosaicError as error:
            if name == NETWORK:
                raise
            failed[name] = str(error)
        done += work
    return failed


def _work_of(plan: Plan | None) -> float:
    return 0.0 if plan is None else sum(sum(plan.work(batch)) for batch in plan.batches)


def _unit_of(plans: Mapping[str, Plan | None]) -> str:
    """Name what most of the work is counted in: steps of one theory are little beside the comparisons of another."""
    planned = [plan for plan in plans.values() if plan is not None]
    return max(planned, key=_work_of).unit if planned else "step"


def _attributes(board: Board, failed: Mapping[str, str]) -> dict[str, str]:
    """Root attributes: the configuration, the data, and the score models that are missing."""
    return {
        **made_by(),
        "title": f"theories against the network in {board.config.checkpoint}",
        "configuration": as_attribute(board.config.model_dump(mode="json")),
        "metrics": as_attribute(list(board.metrics)),
        "runs": as_attribute({name: entry.run.model_dump(mode="json") for name, entry in board.entries.items()}),
        "left_out": as_attribute(dict(board.left_out)),
        "failed": as_attribute(failed),
    }


@checked(LeaderboardConfig)
def leaderboard(
    checkpoint: str | PathLike[str],
    *,
    out: str | PathLike[str],
    data_dir: str | PathLike[str] | None = None,
    memory: str | float | None = None,
    progress: Progress | bool | None = True,
    **settings: Any,
) -> xr.Dataset:
    """Rank theories by how well they predict a trained network, as `mosaic leaderboard` does.

    Parameters
    ----------
    checkpoint : path
        Folder of the trained network.
    out : path
        Folder of all files; what is there already is used, and what is unfinished is resumed.
    data_dir, memory
        As for `run`.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.
    **settings
        Any field of `LeaderboardConfig`: scores="els,is", samples=64, score_options={"els": {...}}, ...

    Returns
    -------
    xarray.Dataset
        Along `score`, the network first: `final_METRIC` (score, sample) of final images against the network's, and
        `step_METRIC` (score, step, sample) of x0hat at the network's states against its own, for each of `metrics`,
        each with `_median`, `_low` and `_high` over samples, NaN for the network itself; `along_METRIC` (score,
        sample), the median over steps, likewise; `behind` (score, sample), by how much `final_METRIC` of the first
        metric is worse than that of the best theory, likewise; `seconds` (score, step) and `seconds_per_step` (score),
        of one sample; `peak_bytes` (score). `step`, `time`, `noise` and `signal` are those of the network's flow, as
        many as the theories have steps.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    MosaicError
        If nothing can be ranked: the network or all theories failed.
    """
    config = layered(LeaderboardConfig, {"checkpoint": fspath(checkpoint)}, settings)
    board = prepare_leaderboard(config, Path(out).expanduser(), data_access(data_dir), memory)
    plans = board.plan_unfinished()
    warn_of(board.notes(plans))
    with reporting(progress) as report:
        return start(board, plans, report)
