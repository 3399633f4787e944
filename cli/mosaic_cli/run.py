"""`mosaic run`: the main job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import ExitCode, UsageError
from mosaic.progress import progress_bar
from mosaic.run.config import RunConfig
from mosaic_cli.data_options import PATH, data_dir, download, memory, scheduler
from mosaic_cli.durations import duration
from mosaic_cli.pictures import save_beside
from mosaic_cli.resumption import advice_after
from mosaic_cli.settings import configured, settings
from mosaic_cli.terminal import Terminal, print_json, say, standard

if TYPE_CHECKING:
    from mosaic.run.plan import Plan
    from mosaic.storage.output import Output

__all__ = ["command"]

WORKERS = (4, 16, 64, 256)  # that a dry run forecasts

LONG = 120  # seconds from which on a smaller training set is advised


@click.command("run")
@settings(RunConfig)
@data_dir
@memory
@scheduler
@download
@click.option(
    "--out",
    type=PATH,
    help="netCDF file to write, or Zarr store if it ends in .zarr.  [default: an unused run-NNN.nc here]",
)
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@click.option("--resume", is_flag=True, help="Resume the unfinished run at --out.")
@click.option("--dry-run", is_flag=True, help="Only say what would be run, its size and its time.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    options: tuple[str, ...],
    config: Path | None,
    data_dir: Path | None,
    memory: str | None,
    scheduler: str | None,
    download: bool,
    out: Path | None,
    overwrite: bool,
    resume: bool,
    dry_run: bool,
    **flags: str | None,
) -> None:
    """Run the reverse flow of a score model and store the trajectory.

    Writes one netCDF file or Zarr store and, beside it, a PNG of the final images; prints its path. Settings come
    from flags, then --config, then (with --resume) the run that is resumed, then MOSAIC_<SETTING> variables, then
    the defaults.
    """
    if resume and out is None:
        raise UsageError("`resume` needs `out`, the run to resume.")
    checked = None if resume else configured(RunConfig, flags, options, config)  # before anything heavy is imported

    from mosaic.containers.access import ENDINGS
    from mosaic.registry.data import data_access
    from mosaic.run.prepare import prepare
    from mosaic.storage.output import Output

    if out is None:
        output = Output.unused("run", beside=(".png",))
    else:
        output = Output(out.expanduser(), resume, overwrite, beside=(".png",), endings=ENDINGS)
    kept = output.kept_settings(RunConfig)
    if resume and not kept and not output.is_unfinished():
        terminal.note(f"Note: there is no run at '{out}' to resume; it starts.")
    plan = prepare(
        checked or configured(RunConfig, flags, options, config, kept),
        data_access(data_dir, download),
        memory=memory,
        output=None if dry_run else output,
        is_stored=True,
    )
    if dry_run:
        _print_dry_run(plan, terminal, as_json)
        return
    _announce(plan, terminal)
    path, seconds = _run(plan, output, scheduler, terminal)
    picture = path.with_suffix(".png")
    terminal.note(f"Took {duration(seconds)}. Final images: {picture}")
    if as_json:
        print_json({"path": str(path), "picture": str(picture), "samples": plan.samples, "seconds": round(seconds, 3)})
    else:
        say(str(path))


def _settings(plan: Plan) -> dict[str, Any]:
    return {**plan.config.model_dump(mode="json"), "scales": list(plan.scales), "labels": list(plan.labels)}


def _announce(plan: Plan, terminal: Terminal) -> None:
    """Say what there is to say before a run: notes, and with -v the settings."""
    for note in plan.notes:
        terminal.note(f"Note: {note}")
    if terminal.verbose:
        for key, value in _settings(plan).items():
            terminal.note(f"{key}: {value}")


def _run(plan: Plan, output: Output, scheduler: str | None, terminal: Terminal) -> tuple[Path, float]:
    """Run, with a bar, and draw the final images; gives the file and the seconds it took."""
    from mosaic.run.cluster import connected
    from mosaic.run.job import start
    from mosaic.view.images import draw_images

    begin = time.perf_counter()
    outputs, replaceable, done = [output], output.replaceable(), False  # the last output is the one that is used
    try:
        with (
            connected(scheduler),
            progress_bar(not terminal.quiet) as bar,
            start(plan, bar, outputs.append) as trajectory,
            output.reading(),
        ):
            done = True
            save_beside(draw_images(trajectory), outputs[-1].path, replaceable)
    except KeyboardInterrupt:
        terminal.fail(f"interrupted; {advice_after(outputs[-1], done)}", ExitCode.INTERRUPTED)
    return outputs[-1].path, time.perf_counter() - begin


def _print_dry_run(plan: Plan, terminal: Terminal, as_json: bool) -> None:
    from mosaic.run.estimate import predict_seconds
    from mosaic.run.memory import predict_memory
    from mosaic.run.scaling import forecast

    for note in plan.notes:
        terminal.note(f"Note: {note}")
    seconds, memory = predict_seconds(plan), predict_memory(plan.model, plan.size)
    on_workers = {} if seconds is None else {count: forecast(plan, seconds, count) for count in WORKERS}
    shape = [plan.samples, len(plan.levels), *plan.dataset.shape]
    if as_json:
        document = {
            "configuration": _settings(plan),
            "training_images": len(plan.dataset),
            "shape": shape,
            "memory_bytes": memory,
            "comparisons": plan.comparisons(),
            "predicted_seconds": seconds,
            "is_upper_bound": not plan.model.traits.is_exact,
            "predicted_seconds_on_workers": {str(count): each for count, each in on_workers.items()},
        }
        print_json(document)
        return
    for key, value in _settings(plan).items():
        say(f"{key}: {value}")
    say(f"training images: {len(plan.dataset)} of shape {plan.dataset.shape}")
    say(f"trajectory: {' x '.join(map(str, shape))} (sample, step, channel, height, width)")
    say("memory: " + ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in memory.items()))
    if plan.threads is not None:
        say(f"threads: {plan.threads}")
    say(f"engine: {plan.model.traits.engine(plan.dtype)}")
    at_most = "" if plan.model.traits.is_exact else " at most, as sums may stop early"
    say(f"window comparisons: {plan.comparisons():.3g}{at_most}")
    say(f"predicted time: {duration(seconds) if seconds is not None else 'unknown for this score model'}{at_most}")
    if on_workers:
        times = ", ".join(f"{duration(each)} on {count}" for count, each in on_workers.items())
        say(f"predicted time on Dask workers like this machine: {times}")
    if seconds is not None and seconds > LONG:
        fewer = min(2000, len(plan.dataset) // 4)
        terminal.note(f"A smaller training set is faster: -o dataset.limit={fewer}, for example.")
