"""`mosaic train`: train a network, keep a checkpoint."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import ExitCode, UsageError
from mosaic.progress import progress_bar
from mosaic.train.config import TrainConfig
from mosaic_cli.data_options import PATH, data_dir, download
from mosaic_cli.durations import duration
from mosaic_cli.resumption import command_to_resume
from mosaic_cli.settings import configured, settings
from mosaic_cli.terminal import Terminal, print_json, say, standard

if TYPE_CHECKING:
    from mosaic.train.checkpoint import Checkpoint
    from mosaic.train.job import TrainingJob
    from mosaic.train.session import Summary

__all__ = ["command"]


@click.command("train")
@click.argument("network", required=False)
@settings(TrainConfig, without=("network",))
@click.option(
    "--max-time", metavar="TIME", help="Stop after this long, from the start or the resumption on: 90s, 10m or 1h30m."
)
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
    type=PATH,
    help="Folder of the checkpoint.  [default: an unused NETWORK-DATASET here]",
)
@click.option("--overwrite", is_flag=True, help="Replace the checkpoint at --out.")
@click.option("--resume", is_flag=True, help="Resume the training at --out.")
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
    if resume and out is None:
        raise UsageError("`resume` needs `out`, the training to resume.")
    checked = None if resume else configured(TrainConfig, flags, options, config)  # before anything heavy is imported

    from mosaic.registry.data import data_access
    from mosaic.storage.files import unused_folder
    from mosaic.train.job import TrainingJob
    from mosaic.train.output import CheckpointOutput
    from mosaic.train.prepare import parse_seconds, prepare_training

    limit = math.inf if max_time is None else parse_seconds(max_time, "max_time")
    save_seconds = parse_seconds(save_every, "save_every")
    output = None if out is None else CheckpointOutput(out.expanduser(), resume, overwrite)
    kept = output.kept_settings(TrainConfig) if output is not None else {}
    if resume and not kept:
        terminal.note(f"Note: there is no training at '{out}' to resume; it starts.")
    plan = prepare_training(
        checked or configured(TrainConfig, flags, options, config, kept),
        data_access(data_dir, download),
        output=output,
    )
    for note in plan.notes:
        terminal.note(f"Note: {note}")
    folder = output.path if output is not None else unused_folder(f"{plan.config.network}-{plan.config.dataset}")
    if terminal.verbose:
        for key, value in plan.config.model_dump(mode="json").items():
            terminal.note(f"{key}: {value}")
    job = TrainingJob(plan, folder, epochs_free=True, max_seconds=limit, save_seconds=save_seconds)
    checkpoint = _train(job, terminal, resume=resume, overwrite=overwrite)
    if as_json:
        print_json({"path": str(folder), **checkpoint.progress()})
    else:
        say(str(folder))


def _train(job: TrainingJob, terminal: Terminal, **settings: Any) -> Checkpoint:
    """Train, with a bar, and say how it ended."""
    try:
        with progress_bar(not terminal.quiet) as bar:
            checkpoint = job.execute(progress=bar, **settings)
    except KeyboardInterrupt:
        advice = f"the training is kept. Resume with: {command_to_resume(sys.argv[1:], job.place)}"
        terminal.fail(f"interrupted; {advice}", ExitCode.INTERRUPTED)
    if job.summary is not None:
        terminal.note(_sentence(job.summary))
        if job.summary.step < job.summary.steps:
            terminal.note(
                f"Stopped by --max-time before {job.plan.config.epochs} epochs. Resume with: "
                f"mosaic train --out {job.place} --resume --max-time TIME"
            )
    return checkpoint


def _sentence(summary: Summary) -> str:
    if summary.images_per_second == 0 and summary.step == summary.steps:
        return f"Nothing was left to do: {summary.epoch:.1f} epochs are done; ask for more with --epochs."
    return (
        f"Trained {summary.step} steps ({summary.epoch:.1f} epochs) in {duration(summary.seconds)}, "
        f"{summary.images_per_second:.0f} images/s; mean loss of the last 100 steps {summary.loss:.4f}."
    )
