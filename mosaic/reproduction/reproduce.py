"""Reproduce a table or figure of the paper, in a folder that keeps everything it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Unpack

import xarray as xr

from mosaic.device import standard_torch
from mosaic.disk.atomic import make_folder, write_together
from mosaic.errors import UsageError, did_you_mean
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.data_source import DataAccess
from mosaic.progress import Progress, reporting, silent
from mosaic.registry.data import data_access
from mosaic.reproduction.attention.table import AttentionTable
from mosaic.reproduction.attention.tradeoff import AttentionTradeoff
from mosaic.reproduction.circular.circular import Circular
from mosaic.reproduction.gaussian.gaussian import GaussianFirst
from mosaic.reproduction.paper.fig3 import Fig3
from mosaic.reproduction.paper.fig4 import Fig4
from mosaic.reproduction.paper.fig5c import Fig5c
from mosaic.reproduction.paper.fig6 import Fig6
from mosaic.reproduction.paper.memorization import Memorization
from mosaic.reproduction.paper.table2 import Table2
from mosaic.reproduction.study.config import ReproduceConfig, ReproduceSettings
from mosaic.reproduction.study.forecast import Forecast, forecast
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.study.target import Target
from mosaic.reproduction.training.training import Training
from mosaic.reproduction.transition.transition import Transition
from mosaic.reproduction.windows.windows import Windows
from mosaic.run.cluster import ClientLike, connected
from mosaic.run.score import Score, name_of
from mosaic.run.settings import layered, refuse_unused
from mosaic.storage.files import as_attribute, check_reachable, store
from mosaic.storage.made_by import made_by
from mosaic.storage.schema import REPRODUCTION_SCHEMA, described
from mosaic.train.checkpoint import Checkpoint
from mosaic.train.score import score
from mosaic.view.images import write_figure

__all__ = [
    "TARGETS",
    "execute_reproduction",
    "forecast_reproduction",
    "prepare_reproduction",
    "prepare_study",
    "reproduce",
]

TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        Table2,
        Fig3,
        Fig4,
        Fig5c,
        Fig6,
        Memorization,
        AttentionTable,
        AttentionTradeoff,
        Windows,
        GaussianFirst,
        Transition,
        Circular,
        Training,
    )
}


def prepare_study(
    config: ReproduceConfig,
    out: Path,
    access: DataAccess,
    memory: str | float | None = None,
    progress: Progress = silent,
    network: Score | None = None,
) -> Study:
    """Say what the steps of a reproduction share; its folder is that of the preset, below `out`.

    Raises
    ------
    UsageError, DataError, PluginError
        If `config.network`, where `network` is not given, is not a network, or its data cannot be read.
    """
    if network is None and config.network is not None:
        root, download, options = access.root, access.download, config.dataset_options
        folder = Path(config.network)
        network = score(folder, config.dataset, dataset_options=options, data_dir=root, download=download)
    return Study(config, out / config.preset, access, memory, progress, network)


def prepare_reproduction(name: str, study: Study) -> Target:
    """Find a table or figure by its name.

    Raises
    ------
    UsageError
        If there is none, a row of the study is unknown, or its folder cannot be looked up.
    """
    if name not in TARGETS:
        raise UsageError(
            f"There is nothing called '{name}' to reproduce.{did_you_mean(name, TARGETS)} Known: {', '.join(TARGETS)}."
        )
    check_reachable(study.folder)
    return TARGETS[name](study)


@standard_torch()
def execute_reproduction(target: Target) -> xr.Dataset:
    """Measure a table or figure, store it as NAME.nc and NAME.png in the study's folder, and return it.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    ConfigMismatch
        If it holds a step that was made with other settings.
    """
    study = target.study
    make_folder(study.folder)
    file, picture = (study.folder / f"{target.name}{ending}" for ending in (".nc", ".png"))
    replaceable = [path for path in (file, picture) if path.exists()]  # what appears meanwhile is another's
    measured = described(target.measure(), REPRODUCTION_SCHEMA).assign_attrs(_attributes(target))
    figure = target.draw(measured)
    write_together({file: partial(store, measured), picture: partial(write_figure, figure)}, replaceable)
    return measured


def forecast_reproduction(target: Target, measure: bool = False) -> list[Forecast]:
    """Say which steps are done, and with `measure` how long the others will take; nothing that it computes is kept.

    Raises
    ------
    ConfigMismatch
        If a step was made with other settings.
    """
    return forecast(target.steps, measure, target.study.progress)


def _attributes(target: Target) -> dict[str, str]:
    return {
        **made_by(),
        "title": (type(target).__doc__ or target.name).strip().splitlines()[0],
        "rows": as_attribute(target.rows),
        "configuration": as_attribute(target.study.config.model_dump(mode="json")),
        "records": as_attribute(target.study.records),
    }


@checked(ReproduceConfig)
def reproduce(
    name: str,
    rows: str | Sequence[str] = (),
    *,
    network: str | PathLike[str] | Checkpoint | Score | None = None,
    out: str | PathLike[str],
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    memory: str | float | None = None,
    client: ClientLike = None,
    progress: Progress | bool | None = True,
    **settings: Unpack[ReproduceSettings],
) -> xr.Dataset:
    """Reproduce a table or figure of the paper, as `mosaic reproduce` does.

    Parameters
    ----------
    name : str
        table2, ...
    rows : str or sequence of str
        Rows of table 2 that it is made from; by default the usual ones.
    network : path, Checkpoint or Score, optional
        A network that is trained, in place of those that the rows train: for fig4.
    out : path
        Folder; each preset has one of its name in it. What is there already is used, and what is unfinished resumed.
    data_dir, download, memory, client
        As for `run`; a cluster computes runs and calibrations.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.
    **settings
        The settings below: preset="paper", samples=16, ...

    Returns
    -------
    xarray.Dataset
        What was measured; also stored as NAME.nc and drawn as NAME.png in the folder.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.

    References
    ----------
    Kamb & Ganguli 2025.
    """
    asked: dict[str, Any] = {"rows": rows} if rows else {}
    own = network if isinstance(network, Score) else None
    if own is not None:
        unused = {name: settings.get(name) for name in ("dataset", "dataset_options")}
        refuse_unused({**unused, "data_dir": data_dir}, "the network is a score, which has its own data")
    if network is not None:
        asked["network"] = name_of(network.model) if isinstance(network, Score) else fspath(network)
    config, access = layered(ReproduceConfig, asked, settings), data_access(data_dir, download)
    with connected(client), reporting(progress) as report:
        study = prepare_study(config, Path(out).expanduser(), access, memory, report, own)
        return execute_reproduction(prepare_reproduction(name, study))
