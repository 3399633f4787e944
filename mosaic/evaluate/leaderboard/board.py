"""From a trained network to its leaderboard: the entries, which of them are done, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import xarray as xr

from mosaic.disk.atomic import make_folder, write_together
from mosaic.disk.lock import OutputInUse
from mosaic.errors import MosaicError
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry
from mosaic.evaluate.leaderboard.participants import TABLE
from mosaic.evaluate.leaderboard.process import execute_here, execute_in_own_process
from mosaic.evaluate.leaderboard.table import leaderboard_table
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.metric import Metric
from mosaic.interfaces.score import ScoreModel
from mosaic.progress import Progress, piece_of, prefixed, silent
from mosaic.run.estimate import predict_seconds
from mosaic.run.plan import Plan
from mosaic.storage.files import as_attribute, open_stored, reusing, store
from mosaic.storage.made_by import code_changed, made_by, stored_code
from mosaic.storage.parts import PartFiles
from mosaic.storage.schema import LEADERBOARD_SCHEMA, NETWORK
from mosaic.view.images import write_figure
from mosaic.view.leaderboard import draw_leaderboard

__all__ = ["Board", "start"]


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
    objects : mapping
        Score models of the entries that are objects, by their names. They work in this process, and so does every entry
        if the network is one: only here are its data.
    """

    config: LeaderboardConfig
    folder: Path
    dataset: DataSet
    entries: Mapping[str, LeaderboardEntry]
    metrics: Mapping[str, Metric]
    left_out: Mapping[str, str]
    objects: Mapping[str, ScoreModel] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The stored table; there is no such file before the first leaderboard is finished."""
        return self.folder / f"{TABLE}.nc"

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
                plan = entry.prepare(self.dataset, self.objects.get(name))
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
    """Execute entries, each in a process of its own where it can; gives why those failed that did, but the network."""
    works = {name: _work_of(plan) / board.entries[name].flow_share for name, plan in plans.items()}
    failed, done, total, unit = {}, 0.0, sum(works.values()), _unit_of(plans)
    for name, work in works.items():
        entry, report = board.entries[name], piece_of(prefixed(progress, name), done, work, total, unit)
        try:
            if name in board.objects or NETWORK in board.objects:
                execute_here(entry, plans[name] or entry.prepare(board.dataset, board.objects.get(name)), report)
            else:
                execute_in_own_process(entry, report)
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
        "title": f"theories against the network {board.config.checkpoint}",
        "configuration": as_attribute(board.config.model_dump(mode="json")),
        "metrics": as_attribute(list(board.metrics)),
        "runs": as_attribute({name: entry.run.model_dump(mode="json") for name, entry in board.entries.items()}),
        "left_out": as_attribute(dict(board.left_out)),
        "failed": as_attribute(failed),
    }
