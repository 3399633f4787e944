"""`mosaic run`: the main job."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mosaic.config import RunConfig, layered
from mosaic.errors import ExitCode, UsageError
from mosaic_cli.data_options import data_dir, download, memory
from mosaic_cli.progress import ProgressBar, duration
from mosaic_cli.resumption import command_to_go_on
from mosaic_cli.settings import layers_of, settings
from mosaic_cli.terminal import Terminal, print_json, standard

if TYPE_CHECKING:
    from mosaic.plan import Plan

__all__ = ["command"]


@click.command("run")
@settings(RunConfig)
@data_dir
@memory
@download
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="netCDF file to write.  [default: an unused run-NNN.nc here]",
)
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@click.option("--resume", is_flag=True, help="Go on with the unfinished run at --out.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be run, its size and its time.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    options: tuple[str, ...],
    config: Path | None,
    data_dir: Path | None,
    memory: str | None,
    download: bool,
    out: Path | None,
    overwrite: bool,
    resume: bool,
    dry_run: bool,
    **flags: str | None,
) -> None:
    """Run the reverse flow of a score model and store the trajectory.

    Writes one netCDF file and, beside it, a PNG of the final images; prints the file's path. Settings come
    from flags, then --config, then (with --resume) the run that is resumed, then MOSAIC_<SETTING> variables, then
    the defaults.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other.")
    if resume and out is None:
        raise UsageError("--resume needs --out FILE, the run to go on with.")
    layers = layers_of(RunConfig, flags, options, config)

    from mosaic.memory import fit, parse_memory
    from mosaic.plan import prepare, settings_of
    from mosaic.runner import data_access
    from mosaic.store import PlaceTaken, RunStore, unused_path

    if memory is not None:
        parse_memory(memory)
    out = out.expanduser() if out is not None else None
    begun = RunStore(out).configuration() if resume and out is not None else None
    if begun is not None:
        layers.insert(1, settings_of(begun))
    elif resume:
        terminal.note(f"Note: there is no run at '{out}' to go on with; it begins.")
    resolved = layered(RunConfig, *layers)
    if dry_run:
        _print_dry_run(fit(prepare(resolved, data_access(data_dir, download)), memory), terminal, as_json)
        return
    if out is not None:
        RunStore(out).check_place(resume=resume, overwrite=overwrite)
        check_picture(out, overwrite or begun is not None)
    plan = fit(prepare(resolved, data_access(data_dir, download)), memory)
    tell(plan, terminal, predict=not resume)
    while True:
        path = out if out is not None else unused_path(Path())
        try:
            _run(plan, path, resume, overwrite, terminal, as_json)
        except PlaceTaken:  # by a run that began at the same moment
            if out is not None:
                raise
        else:
            return


def check_picture(path: Path, replace: bool) -> None:
    """Refuse a run whose picture would take the place of another file."""
    picture = path.with_suffix(".png")
    if picture.exists() and not replace:
        raise UsageError(f"'{picture}' exists already; use --overwrite to replace it, or another --out.")


def tell(plan: Plan, terminal: Terminal, predict: bool) -> None:
    """Say what there is to say before a run: notes, with -v the settings, and the time it will take."""
    from mosaic.estimate import predict_seconds
    from mosaic.plan import describe

    for note in plan.notes:
        terminal.note(f"Note: {note}")
    if terminal.verbose:
        for key, value in describe(plan).items():
            terminal.note(f"{key}: {value}")
    seconds = predict_seconds(plan) if predict and not terminal.quiet else None
    if seconds is not None:
        fewer = min(2000, len(plan.dataset) // 4)
        advice = f" A smaller training set is faster: -o dataset.limit={fewer}, for example." if seconds > 120 else ""
        samples = "1 sample" if plan.samples == 1 else f"{plan.samples} samples"
        terminal.note(f"Predicted time: {duration(seconds)} for {samples} of {len(plan.levels)} steps.{advice}")


def _run(plan: Plan, path: Path, resume: bool, overwrite: bool, terminal: Terminal, as_json: bool) -> None:
    from mosaic.picture import draw_images, save_figure
    from mosaic.runner import execute
    from mosaic.store import RunStore

    begin, picture = time.perf_counter(), path.with_suffix(".png")
    try:
        with (
            ProgressBar(len(plan.batches) * len(plan.levels), terminal) as bar,
            execute(plan, path, resume=resume, overwrite=overwrite, progress=steps_on(bar, plan)) as trajectory,
        ):
            save_figure(draw_images(trajectory), picture)
    except KeyboardInterrupt:
        kept = RunStore(path).parts.exists()
        advice = f"finished batches are kept. Go on with: {command_to_go_on(sys.argv[1:], path)}"
        terminal.fail(f"interrupted; {advice if kept else 'nothing was written.'}", ExitCode.INTERRUPTED)
    taken = time.perf_counter() - begin
    terminal.note(f"Took {duration(taken)}. Final images: {picture}")
    if as_json:
        print_json({"path": str(path), "picture": str(picture), "samples": plan.samples, "seconds": round(taken, 3)})
    else:
        click.echo(str(path))


def steps_on(bar: ProgressBar, plan: Plan) -> Callable[[int, int, int], None]:
    """Show the batches and steps of a run on a bar."""

    def progress(batch: int, step: int, steps: int) -> None:
        bar.show(batch * steps + step, f"batch {batch + 1}/{len(plan.batches)}, step {step}/{steps}")

    return progress


def _print_dry_run(plan: Plan, terminal: Terminal, as_json: bool) -> None:
    from mosaic.estimate import predict_seconds
    from mosaic.machine import AnalyticMachine
    from mosaic.memory import predict_memory
    from mosaic.plan import describe

    for note in plan.notes:
        terminal.note(f"Note: {note}")
    seconds, memory = predict_seconds(plan), predict_memory(plan)
    channels, height, width = plan.dataset.shape
    shape = [plan.samples, len(plan.levels), channels, height, width]
    if as_json:
        print_json(
            {
                "configuration": describe(plan),
                "training_images": len(plan.dataset),
                "shape": shape,
                "memory_bytes": memory,
                "comparisons": plan.comparisons(),
                "predicted_seconds": seconds,
            }
        )
        return
    for key, value in describe(plan).items():
        click.echo(f"{key}: {value}")
    click.echo(f"training images: {len(plan.dataset)} of shape {plan.dataset.shape}")
    click.echo(f"trajectory: {' x '.join(map(str, shape))} (sample, step, channel, height, width)")
    click.echo("memory: " + ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in memory.items()))
    if isinstance(plan.model, AnalyticMachine) and plan.model.compute.workers is not None:
        click.echo(f"threads: {plan.model.compute.workers}")
    click.echo(f"engine: {plan.model.engine(plan.dtype)}")
    click.echo(f"window comparisons: {plan.comparisons():.3g}")
    click.echo(f"predicted time: {duration(seconds) if seconds is not None else 'unknown for this score model'}")
