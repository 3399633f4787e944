"""Leaderboards from Python, as `mosaic leaderboard` makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Unpack

import xarray as xr

from mosaic.errors import warn_of
from mosaic.evaluate.leaderboard.board import start
from mosaic.evaluate.leaderboard.config import LeaderboardConfig, LeaderboardSettings
from mosaic.evaluate.leaderboard.prepare import prepare_leaderboard
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.score import ScoreModel
from mosaic.progress import Progress, reporting
from mosaic.registry.data import data_access
from mosaic.run.score import Score, name_of
from mosaic.run.settings import layered, refuse_unused
from mosaic.train.checkpoint import Checkpoint
from mosaic.train.score import score

__all__ = ["leaderboard"]


@checked(LeaderboardConfig)
def leaderboard(
    checkpoint: str | PathLike[str] | Checkpoint | Score,
    theories: Mapping[str, Score | ScoreModel] | None = None,
    *,
    out: str | PathLike[str],
    data_dir: str | PathLike[str] | None = None,
    memory: str | float | None = None,
    progress: Progress | bool | None = True,
    **settings: Unpack[LeaderboardSettings],
) -> xr.Dataset:
    """Rank theories by how well they predict a trained network, as `mosaic leaderboard` does.

    Parameters
    ----------
    checkpoint : path, Checkpoint or Score
        Folder of the trained network; or any network, as `mosaic.score` gives it, with its data and schedule.
    theories : mapping, optional
        Theories of your own, as `mosaic.score` gives them or as score models, by the names they get; besides those
        of `scores`, on the network's data. Scales that they have go before those of `scales`.
    out : path
        Folder of all files; what is there already is used, and what is unfinished is resumed.
    data_dir, memory
        As for `run`.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.
    **settings
        The settings below: scores="els,is", samples=64, score_options={"els": {...}}, scales={"els": ...}, ...

    Returns
    -------
    xarray.Dataset
        Along `score`, the network first: `final_METRIC` (score, sample) of final images against the network's, and
        `step_METRIC` (score, step, sample) of x0hat at the network's states against its own, for each of `metrics`,
        each with `_median`, `_low` and `_high` over samples, NaN for the network itself; `along_METRIC` (score,
        sample), the median over steps, likewise; `behind` (score, sample), by how much `final_METRIC` of the first
        metric is worse than that of the best theory, likewise; `seconds` (score, step) and `seconds_per_step` (score),
        of one sample; `peak_bytes` (score), NaN for what has no process of its own: theories that are objects, and all
        if the network is a Score. `step`, `time`, `noise` and `signal` are those of the network's flow, as
        many as the theories have steps.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    MosaicError
        If nothing can be ranked: the network or all theories failed.
    """
    if isinstance(checkpoint, Score):
        unused = {name: settings.get(name) for name in ("dataset", "dataset_options")}
        refuse_unused({**unused, "data_dir": data_dir}, "the network is a score, which has its own data")
    name = name_of(checkpoint.model) if isinstance(checkpoint, Score) else fspath(checkpoint)
    own = {each: score(what) if isinstance(what, ScoreModel) else what for each, what in (theories or {}).items()}
    board = prepare_leaderboard(
        layered(LeaderboardConfig, {"checkpoint": name}, settings),
        Path(out).expanduser(),
        data_access(data_dir),
        memory,
        network=None if isinstance(checkpoint, (str, PathLike)) else checkpoint,
        theories=own,
    )
    plans = board.plan_unfinished()
    warn_of(board.notes(plans))
    with reporting(progress) as report:
        table = start(board, plans, report)
    warn_of(f"{name} failed, and has no numbers: {why}" for name, why in json.loads(table.attrs["failed"]).items())
    return table
