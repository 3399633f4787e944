"""Training as a job: take a folder, train, keep a checkpoint in it that a kill cannot spoil."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from mosaic.checkpoint import DESCRIPTION, LOSS, TRAINING, WEIGHTS, Checkpoint, load_checkpoint
from mosaic.dataset import DataSet
from mosaic.errors import UsageError
from mosaic.runner import data_access
from mosaic.sitting import Report, Sitting, no_report
from mosaic.store import BegunOtherwise, locked, named_differences
from mosaic.train_plan import TrainPlan, describe_training, parse_seconds, prepare_training, settings_begun

__all__ = ["check_folder", "check_same", "execute_training", "train"]

FILES = (DESCRIPTION, WEIGHTS, TRAINING, LOSS)


def check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that is taken, or is no checkpoint's; writes nothing.

    Raises
    ------
    UsageError
        With the way out.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out '{out}' is a file; a checkpoint is a folder.")
    if not out.exists():
        if not out.absolute().parent.is_dir():
            raise UsageError(f"--out '{out}': there is no folder '{out.parent}'; make it first.")
        return
    ours = {*FILES, *(f".{name}.tmp" for name in FILES)}
    if any(path.name not in ours for path in out.iterdir()):
        raise UsageError(f"--out '{out}' holds other files; choose another folder.")
    if (out / DESCRIPTION).is_file() and not (resume or overwrite):
        raise UsageError(f"'{out}' holds a checkpoint; use --resume to go on, --overwrite, or another --out.")


def execute_training(
    plan: TrainPlan,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    max_seconds: float = math.inf,
    save_seconds: float = 30.0,
    report: Report = no_report,
) -> Checkpoint:
    """Train, and keep a checkpoint in the folder `out`.

    Parameters
    ----------
    resume, overwrite : bool
        Go on with the training there, which must agree in all but the number of epochs; or replace it, once there is
        a first new checkpoint.
    max_seconds : float
        Stop, with a checkpoint, when training has taken this long, earlier sittings included.
    save_seconds : float
        Time between two checkpoints: what a kill can lose at most.

    Raises
    ------
    UsageError
        If the folder cannot be used, or holds another training.
    MosaicError
        If the loss or the weights turn NaN or infinite; the last good checkpoint stays.
    """
    check_folder(out, resume=resume, overwrite=overwrite)
    training, description = plan.start(), describe_training(plan)
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out '{out}' cannot be written ({error.strerror}); choose another place.") from None
    with locked(out, out):
        begun = resume and (out / DESCRIPTION).is_file()  # what has no description is what a kill left
        if begun:
            there = load_checkpoint(out)
            check_same(there, description, free=("epochs",))
            epochs = {"configuration": {**there.description["configuration"], "epochs": plan.config.epochs}}
            description = {**there.description, **epochs}
        Sitting(training, out, description, begun, report).run(max_seconds, save_seconds)
    return load_checkpoint(out)


def check_same(there: Checkpoint, description: Mapping[str, Any], free: Sequence[str] = ()) -> None:
    """Refuse a training of another configuration, the settings in `free` aside, or of other data.

    Raises
    ------
    BegunOtherwise
        With what differs.
    """
    same = dict.fromkeys(free)
    stored = {**there.description["configuration"], **same, "fingerprint": there.description["dataset_fingerprint"]}
    wanted = {**description["configuration"], **same, "fingerprint": description["dataset_fingerprint"]}
    if differing := named_differences(stored, json.loads(json.dumps(wanted))):
        raise BegunOtherwise(there.folder, differing)


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
    report: Report = no_report,
    **settings: Any,
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
        Go on with the training there; or replace it.
    max_time : str or float, optional
        Stop after this much training, such as "10m", or a number of seconds.
    save_every : str or float
        Time between two checkpoints: what a kill can lose at most.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    report : callable
        Called with a `TrainProgress` a few times a second.
    **settings
        Any field of `TrainConfig`: epochs=50, learning_rate=1e-3, network_options={"channels": 64}, ...

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
    if resume and overwrite:
        raise UsageError("resume and overwrite exclude each other.")
    images = dataset if isinstance(dataset, DataSet) else None
    asked = {"network": network, "dataset": images.name if images is not None else dataset}
    names = {key: value for key, value in asked.items() if value is not None}
    limit = math.inf if max_time is None else parse_seconds(max_time)
    folder = Path(out).expanduser()
    begun = settings_begun(folder) if resume else {}
    plan = prepare_training([begun, {**names, **settings}], data_access(data_dir, download), images)
    return execute_training(
        plan,
        folder,
        resume=resume,
        overwrite=overwrite,
        max_seconds=limit,
        save_seconds=parse_seconds(save_every, "save_every"),
        report=report,
    )
