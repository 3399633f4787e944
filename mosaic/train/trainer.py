"""Training from Python, as `mosaic train` does."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import Unpack

from mosaic.errors import warn_of
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.progress import Progress, reporting
from mosaic.registry.data import data_access
from mosaic.run.settings import layered, refuse_unused
from mosaic.train.checkpoint import Checkpoint
from mosaic.train.config import TrainConfig, TrainSettings
from mosaic.train.job import TrainingJob
from mosaic.train.output import CheckpointOutput
from mosaic.train.prepare import parse_seconds, prepare_training

__all__ = ["train"]


@checked(TrainConfig)
def train(
    network: str | None = None,
    dataset: str | DataSet | None = None,
    *,
    out: str | PathLike[str],
    resume: bool = False,
    overwrite: bool = False,
    max_time: str | float | None = None,
    save_every: str | float = "30s",
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    progress: Progress | bool | None = True,
    **settings: Unpack[TrainSettings],
) -> Checkpoint:
    """Train a network, as `mosaic train` does.

    Parameters
    ----------
    network : str, optional
        A registered name; by default resnet, or what is resumed.
    dataset : str or DataSet, optional
        A registered name, or a data set; by default digits, or what is resumed.
    out : path
        Folder of the checkpoint.
    resume, overwrite : bool
        Resume the training there; or replace it.
    max_time : str or float, optional
        Stop after this long, such as "10m", or a number of seconds; counted from the start or the resumption.
    save_every : str or float
        Time between two checkpoints: what a kill can lose at most.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.
    **settings
        The settings below: epochs=50, learning_rate=1e-3, network_options={"channels": 64}, ... A data set may
        have defaults of its own, in place of theirs.

    Returns
    -------
    Checkpoint
        For the score model `network`: score_options={"checkpoint": str(out)}.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    MosaicError
        If the loss turns NaN or infinite.

    References
    ----------
    Kamb & Ganguli 2025, app. C.1.
    """
    output = CheckpointOutput(Path(out).expanduser(), resume, overwrite)
    images = dataset if isinstance(dataset, DataSet) else None
    asked = {"network": network, "dataset": images.name if images is not None else dataset}
    names = {key: value for key, value in asked.items() if value is not None}
    if images is not None:
        unused = {"dataset_options": settings.get("dataset_options"), "data_dir": data_dir, "download": download}
        refuse_unused(unused, "the data set is not a name")
    config = layered(TrainConfig, output.kept_settings(TrainConfig), {**names, **settings})
    plan = prepare_training(config, data_access(data_dir, download), dataset=images, output=output)
    warn_of(plan.notes)
    job = TrainingJob(
        plan,
        output.path,
        epochs_free=True,
        max_seconds=math.inf if max_time is None else parse_seconds(max_time, "max_time"),
        save_seconds=parse_seconds(save_every, "save_every"),
    )
    with reporting(progress) as report:
        return job.execute(resume=resume, overwrite=overwrite, progress=report)
