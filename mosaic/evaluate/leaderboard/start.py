"""The work of a leaderboard, phase by phase: what is not done is executed, compared, stored and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

import xarray as xr

from mosaic.disk.atomic import make_folder, write_together
from mosaic.disk.lock import OutputInUse
from mosaic.errors import MosaicError
from mosaic.evaluate.leaderboard.board import Board, Plans
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry
from mosaic.evaluate.leaderboard.process import execute_here, execute_in_own_process
from mosaic.evaluate.leaderboard.table import best_of_halves, leaderboard_table
from mosaic.progress import Progress, piece_of, prefixed, silent
from mosaic.run.plan import Plan
from mosaic.storage.files import as_attribute, reusing, store
from mosaic.storage.made_by import made_by
from mosaic.storage.parts import PartFiles
from mosaic.storage.schema import LEADERBOARD_SCHEMA, described
from mosaic.view.images import write_figure
from mosaic.view.leaderboard import draw_leaderboard

__all__ = ["start"]


def start(board: Board, plans: Plans, progress: Progress = silent) -> xr.Dataset:
    """Execute what is not done (`plans` are those of `plan_unfinished`), compare, store and draw.

    A score model that fails is named in the attribute `failed`, and has no numbers.

    Raises
    ------
    MosaicError
        If a network or all theories fail, or the leaderboard cannot be written.
    """
    for folder in {board.folder, *(entry.out.parent for entry in board.work.values())}:
        make_folder(folder)
    picture = board.file.with_suffix(".png")
    replaceable = [path for path in (board.file, picture) if path.exists()]  # what appears meanwhile is another's
    for name in board.work.keys() - plans.keys():
        for file in board.work[name].files:
            with suppress(OutputInUse):
                PartFiles(file).clear()  # a kill after the file was written leaves them
    board, plans, compared, failed = _tuned(board, plans, progress)
    networks, theories, across = board.phases
    _execute(networks, plans, board, progress)
    failed |= _execute({name: theories[name] for name in theories if name not in failed}, plans, board, progress)
    if not theories.keys() - failed.keys():
        reasons = "; ".join(f"{name} failed: {message}" for name, message in failed.items())
        raise MosaicError(f"Nothing can be ranked. {reasons}")
    lost = [theories[name].out for name in failed if name in theories]
    across = {
        name: entry.model_copy(update={"along": tuple(each for each in entry.along if each.run not in lost)})
        for name, entry in across.items()
    }
    _execute(across, plans, board, progress)
    with reusing():
        table = leaderboard_table(
            list(networks.values()), theories, list(across.values()), board.metrics, board.given, failed
        )
    texts = [board.tuned.get(name, "") for name in table["score"].values.tolist()]
    table = table.merge(compared).assign(tuned=("score", texts))
    table = table.assign_coords(training=list(board.config.checkpoint))
    table = described(table, LEADERBOARD_SCHEMA, tuple(board.metrics))
    table = table.assign_attrs(_attributes(board, table, failed))
    figure = draw_leaderboard(table)
    write_together({board.file: partial(store, table), picture: partial(write_figure, figure)}, replaceable)
    return table


def _tuned(board: Board, plans: Plans, progress: Progress) -> tuple[Board, Plans, xr.Dataset, dict[str, str]]:
    """Choose the options that are open.

    Returns
    -------
    board, plans
        With the candidates chosen.
    compared : xarray.Dataset
        What the candidates were compared by, empty if there are none.
    failed : mapping
        Candidates, and theories all of whose candidates failed, with the reason.
    """
    if board.tuning is None:
        return board, plans, xr.Dataset(), {}
    networks, candidates, *_ = board.phases
    _execute(networks, plans, board, progress)
    failed = _execute(candidates, plans, board, progress)
    ranking, metric = next(iter(board.metrics.items()))
    compared = board.tuning.compare(board.metrics, failed)
    chosen = board.tuning.choose(compared, ranking, metric.higher_is_better)
    for theory in board.tuning.theories:
        if theory not in chosen:
            failed[theory] = f"none of its candidates has numbers: {failed.get(board.tuning.of(theory)[0].text)}"
    texts = [candidate.text for candidate in chosen.values()]
    compared = compared.assign(
        candidate_score=("candidate", [candidate.theory for candidate in board.tuning.candidates]),
        chosen=("candidate", [candidate.text in texts for candidate in board.tuning.candidates]),
    )
    theories = {**board.theories, **{name: candidate.entry for name, candidate in chosen.items()}}
    board = replace(board, theories=theories, tuning=None)
    return board, {**plans, **board.plan_unfinished()}, compared, failed


def _execute(phase: Mapping[str, LeaderboardEntry], plans: Plans, board: Board, progress: Progress) -> dict[str, str]:
    """Execute what is planned of a phase, each in a process of its own where it can; gives why theories failed."""
    planned = {name: plans[name] for name in phase if name in plans}
    works = {name: _work_of(plan) * sum(phase[name].works()) / phase[name].run.steps for name, plan in planned.items()}
    failed, done, total, unit = {}, 0.0, sum(works.values()), _unit_of(planned)
    here = not board.networks.keys().isdisjoint(board.objects)
    for name, work in works.items():
        entry, report = phase[name], piece_of(prefixed(progress, name), done, work, total, unit)
        model = board.objects.get(entry.name)
        try:
            if here or model is not None:
                execute_here(entry, plans[name] or entry.prepare(board.dataset, model), report)
            else:
                execute_in_own_process(entry, report)
        except MosaicError as error:
            if entry.name in board.networks:
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


def _attributes(board: Board, table: xr.Dataset, failed: Mapping[str, str]) -> dict[str, str]:
    """Root attributes: the configuration, the data, and the score models that are missing."""
    ranking, metric = next(iter(board.metrics.items()))
    names = table["score"].values.tolist()
    even, odd = best_of_halves(table[f"final_{ranking}"].values, names, metric.higher_is_better)
    several = "s" * (len(board.networks) > 1)
    return {
        **made_by(),
        "title": f"theories against the network{several} {', '.join(board.config.checkpoint)}",
        "configuration": as_attribute(board.config.model_dump(mode="json")),
        "metrics": as_attribute(list(board.metrics)),
        "best": as_attribute({"even": even, "odd": odd}),
        "given": board.given or "",
        "runs": as_attribute({name: entry.run.model_dump(mode="json") for name, entry in board.entries.items()}),
        "left_out": as_attribute(dict(board.left_out)),
        "failed": as_attribute(failed),
    }
