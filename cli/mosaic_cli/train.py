"""`mosaic train`: train a network, keep a checkpoint."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import ExitCode, UsageError
from mosaic.train_config import TrainConfig
from mosaic_cli.data_options import data_dir, download
from mosaic_cli.progress import ProgressBar, duration
from mosaic_cli.resumption import command_to_go_on
from mosaic_cli.settings import layers_of, settings
from mosaic_cli.terminal import Terminal, print_json, standard

if TYPE_CHECKING:
    from mosaic.checkpoint import Checkpoint
    from mosaic.sitting import TrainProgress
    from mosaic.train_plan import TrainPlan

__all__ = ["command"]


@click.command("train")
@click.argument("network", required=False)
@settings(TrainConfig, without=("network",))
@click.option("--max-time", metavar="TIME", help="Stop after this much training, such as 90s, 10m or 1h30m.")
@click.option(
    "--save-every",
    metavar="TIME",
    default="30s",
    help="Time between two checkpoints: what a kill can lose at most.  [default: 30s]",
)
@data_dir
@download
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the checkpoint.  [default: an unused NETWORK-DATASET here]",
)
@click.option("--overwrite", is_flag=True, help="Replace the checkpoint at --out.")
@click.option("--resume", is_flag=True, help="Go on with the training at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    options: tuple[str, ...],
    config: Path | None,
    max_time: str | None,
    save_every: str,
    data_dir: Path | None,
    download: bool,
    out: Path | None,
    overwrite: bool,
    resume: bool,
    **flags: str | None,
) -> None:
    """Train NETWORK (default: resnet) to predict the noise in the images of a data set.

    Writes a checkpoint, a folder of weights (safetensors) and their description (JSON), every half minute and at the
    end; prints its path. Settings come from flags, then --config, then (with --resume) the training that is resumed,
    then MOSAIC_<SETTING> variables, then what suits the data set, then the defaults.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other.")
    if resume and out is None:
        raise UsageError("--resume needs --out DIR, the training to go on with.")
    layers = layers_of(TrainConfig, flags, options, config)

    from mosaic.runner import data_access
    from mosaic.train_plan import parse_seconds, prepare_training, settings_begun
    from mosaic.trainer import check_folder

    limit = math.inf if max_time is None else parse_seconds(max_time)
    save_seconds = parse_seconds(save_every, "--save-every")
    out = out.expanduser() if out is not None else None
    if resume and out is not None:
        begun = settings_begun(out)
        layers.insert(1, begun)
        if not begun:
            terminal.note(f"Note: there is no training at '{out}' to go on with; it begins.")
    if out is not None:
        check_folder(out, resume=resume, overwrite=overwrite)
    plan = prepare_training(layers, data_access(data_dir, download))
    folder = out if out is not None else _unused(f"{plan.config.network}-{plan.config.dataset}")
    if terminal.verbose:
        for key, value in plan.config.model_dump(mode="json").items():
            terminal.note(f"{key}: {value}")
    checkpoint = _train(
        plan,
        folder,
        terminal,
        resume=resume,
        overwrite=overwrite,
        max_seconds=limit,
        save_seconds=save_seconds,
    )
    if as_json:
        print_json({"path": str(folder), **checkpoint.progress})
    else:
        click.echo(str(folder))


def _train(plan: TrainPlan, folder: Path, terminal: Terminal, max_seconds: float, **settings: Any) -> Checkpoint:
    """Train, with a bar, and say how it ended."""
    from mosaic.trainer import execute_training

    last: TrainProgress | None = None

    def report(progress: TrainProgress) -> None:
        nonlocal last
        last = progress
        _show(bar, progress, max_seconds)

    try:
        with ProgressBar(1.0, terminal) as bar:
            checkpoint = execute_training(plan, folder, max_seconds=max_seconds, report=report, **settings)
    except KeyboardInterrupt:
        advice = f"the training is kept. Go on with: {command_to_go_on(sys.argv[1:], folder)}"
        terminal.fail(f"interrupted; {advice}", ExitCode.INTERRUPTED)
    if last is not None:
        terminal.note(_summary(last))
        if last.step < last.steps:
            terminal.note(
                f"Stopped by --max-time before {plan.config.epochs} epochs. Go on with: "
                f"mosaic train --out {folder} --resume --max-time TIME"
            )
    return checkpoint


def _unused(name: str) -> Path:
    """First of NAME, NAME-2, NAME-3, ... that is not there."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{name}-{number}")
    return path


def _show(bar: ProgressBar, progress: TrainProgress, limit: float) -> None:
    done = max(progress.step / progress.steps, progress.seconds / limit)
    bar.show(done, f"epoch {progress.epoch:.1f}, loss {progress.loss:.4f}, {progress.images_per_second:.0f} images/s")


def _summary(progress: TrainProgress) -> str:
    if progress.images_per_second == 0:
        return (
            f"Nothing was left to do: {progress.epoch:.1f} epochs are done; ask for more with --epochs, or with "
            f"--max-time, which counts earlier sittings, too."
        )
    return (
        f"Trained {progress.step} steps ({progress.epoch:.1f} epochs) in {duration(progress.seconds)}, "
        f"{progress.images_per_second:.0f} images/s; mean loss of the last 100 steps {progress.loss:.4f}."
    )
