"""Leaderboards from Python, as `mosaic leaderboard` makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Unpack

import xarray as xr

from mosaic.errors import warn_of
from mosaic.evaluate.leaderboard.config import LeaderboardConfig, LeaderboardSettings
from mosaic.evaluate.leaderboard.prepare import prepare_leaderboard
from mosaic.evaluate.leaderboard.start import start
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.score import ScoreModel
from mosaic.progress import Progress, reporting
from mosaic.registry.data import data_access
from mosaic.run.cluster import ClientLike, connected
from mosaic.run.score import Score, name_of
from mosaic.run.settings import layered, refuse_unused
from mosaic.train.checkpoint import Checkpoint
from mosaic.train.score import score

__all__ = ["leaderboard"]


@checked(LeaderboardConfig)
def leaderboard(
    checkpoint: str | PathLike[str] | Checkpoint | Score | Sequence[str | PathLike[str] | Checkpoint | Score],
    theories: Mapping[str, Score | ScoreModel] | None = None,
    *,
    out: str | PathLike[str],
    data_dir: str | PathLike[str] | None = None,
    memory: str | float | None = None,
    client: ClientLike = None,
    progress: Progress | bool | None = True,
    **settings: Unpack[LeaderboardSettings],
) -> xr.Dataset:
    """Rank theories by how well they predict a trained network or its trainings, as `mosaic leaderboard` does.

    Parameters
    ----------
    checkpoint : path, Checkpoint or Score, or a sequence of these
        Folder of the trained network; or any network, as `mosaic.score` gives it, with its data and schedule. Several
        are trainings of one network, with the same architecture, training images and schedule.
    theories : mapping, optional
        Theories of your own, as `mosaic.score` gives them or as score models, by the names they get; besides those
        of `scores`, on the network's data. Scales that they have go before those of `scales`.
    out : path
        Folder of all files; what is there already is used, and what is unfinished is resumed.
    data_dir, memory, client
        As for `run`; a cluster computes the runs, and time and memory are measured in this machine's processes.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.
    **settings
        The settings below: scores="els,is", samples=64, score_options={"els": {...}}, scales={"els": ...}, ...

    Returns
    -------
    xarray.Dataset
        Along `score`, the network first, and `training`, the networks given. For each of `metrics`, `final_METRIC`
        (score, training, sample) of final images against the network's; `step_METRIC` (score, training, step, sample)
        of x0hat at states of the network's flow, and `along_METRIC` (score, training, sample), its median over steps;
        `own_step_METRIC` (score, training, own_step, sample) of x0hat at states of the theory's own flow, and
        `own_METRIC` its median. `behind` (score, training, sample), by how much `final_METRIC` of the first metric is
        worse than that of the theory that is best on the other half of the samples; NaN for one that is best on both.
        `partial_pearson_r` (score, training, sample), the correlation of final images given that of the theory `given`.
        Each has `_median`, `_low` and `_high` over trainings and samples. The network's own entry says how well another
        training predicts it, mean over the others; of one training it is NaN.

        `tuned` (score), how parameters were chosen; of what `tune` tries, `tuning_METRIC` (candidate, training,
        tuning_sample) and `chosen` (candidate). `seconds` (score, step) and `seconds_per_step` (score), of one sample;
        `peak_bytes` (score), NaN for what has no process of its own: theories that are objects, and all if a network
        is a Score. `step`, `time`, `noise` and `signal` are those of the network's flow, as many as the theories have
        steps, and `own_time` that of the theories' own steps.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    MosaicError
        If nothing can be ranked: the network or all theories failed.
    """
    given = [checkpoint] if isinstance(checkpoint, (str, PathLike, Checkpoint, Score)) else list(checkpoint)
    if any(isinstance(each, Score) for each in given):
        unused = {name: settings.get(name) for name in ("dataset", "dataset_options")}
        refuse_unused({**unused, "data_dir": data_dir}, "the network is a score, which has its own data")
    names = [name_of(each.model) if isinstance(each, Score) else fspath(each) for each in given]
    own = {each: score(what) if isinstance(what, ScoreModel) else what for each, what in (theories or {}).items()}
    board = prepare_leaderboard(
        layered(LeaderboardConfig, {"checkpoint": names}, settings),
        Path(out).expanduser(),
        data_access(data_dir),
        memory,
        networks=[each if isinstance(each, (Checkpoint, Score)) else fspath(each) for each in given],
        theories=own,
    )
    plans = board.plan_unfinished()
    warn_of(board.notes(plans))
    with connected(client), reporting(progress) as report:
        table = start(board, plans, report)
    warn_of(f"{name} failed, and has no numbers: {why}" for name, why in json.loads(table.attrs["failed"]).items())
    return table
