"""`mosaic run`: the main job."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from mosaic.config import SECTIONS, RunConfig, from_environment, from_file, layered, plugin_options
from mosaic.errors import ExitCode, UsageError
from mosaic_cli.terminal import Terminal, print_json, standard

if TYPE_CHECKING:
    from mosaic.plan import Plan

__all__ = ["command"]

COMPLETED = (*SECTIONS, "sampler", "dtype", "scales")


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    name = parameter.name or ""
    annotation = RunConfig.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        known = list(get_args(annotation))
    elif name == "scales":
        from mosaic.scales import preset_names

        known = preset_names()
    else:
        from mosaic.plugins import registry

        known = registry().names(name)
    return [CompletionItem(one) for one in known if one.startswith(incomplete)]


def _metavar(name: str, annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if int in (annotation, *get_args(annotation)):
        return "N"
    return {"init": "FILE", "device": "DEVICE", "scales": "SPEC", "labels": "SPEC"}.get(name, "NAME")


def settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for every field of `RunConfig`, described by the field itself."""
    for name, field in reversed(RunConfig.model_fields.items()):
        if name.endswith("_options"):
            continue
        default = "" if field.default is None else f"  [default: {field.default}]"
        function = click.option(
            f"--{name.replace('_', '-')}",
            metavar=_metavar(name, field.annotation),
            help=f"{field.description}{default}",
            shell_complete=_complete if name in COMPLETED else None,
        )(function)
    return function


@click.command("run")
@settings
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of a plugin, e.g. score.boundary=circular.",
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings; flags go before it.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of data files.  [default: $MOSAIC_DATA]")
@click.option(
    "--memory",
    metavar="SIZE",
    envvar="MOSAIC_MEMORY",
    help="What the run may take, such as 2G (powers of 1024): less means fewer threads, and the same numbers.  "
    "[default: a quarter of what the machine has]",
)
@click.option("--download", is_flag=True, help="Download a torchvision data set that is not there.")
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
    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    layers = [from_environment(), from_file(config) if config else {}, given | plugin_options(options)]
    layered(*layers)  # refuses what cannot be used, before torch is imported

    from mosaic.memory import fit, parse_memory
    from mosaic.plan import prepare, settings_of
    from mosaic.runner import data_access
    from mosaic.store import PlaceTaken, RunStore, unused_path

    if memory is not None:
        parse_memory(memory)
    out = out.expanduser() if out is not None else None
    if resume and out is not None and (begun := RunStore(out).configuration()) is not None:
        layers.insert(1, settings_of(begun))
    resolved = layered(*layers)
    if dry_run:
        _print_dry_run(fit(prepare(resolved, data_access(data_dir, download)), memory), terminal, as_json)
        return
    if out is not None:
        RunStore(out).check_place(resume=resume, overwrite=overwrite)
        check_picture(out, resume or overwrite)
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
        advice = " A smaller training set is faster: -o dataset.limit=2000, for example." if seconds > 120 else ""
        samples = "1 sample" if plan.samples == 1 else f"{plan.samples} samples"
        terminal.note(f"Predicted time: {duration(seconds)} for {samples} of {len(plan.levels)} steps.{advice}")


def _run(plan: Plan, path: Path, resume: bool, overwrite: bool, terminal: Terminal, as_json: bool) -> None:
    from mosaic.picture import draw_images, save_figure
    from mosaic.runner import execute
    from mosaic.store import RunStore

    begin, picture = time.perf_counter(), path.with_suffix(".png")
    try:
        with (
            progress_bar(plan, terminal) as progress,
            execute(plan, path, resume=resume, overwrite=overwrite, progress=progress) as trajectory,
        ):
            save_figure(draw_images(trajectory), picture)
    except KeyboardInterrupt:
        kept = RunStore(path).parts.exists()
        advice = f"finished batches are kept. Go on with: {resume_command(sys.argv[1:], path)}"
        terminal.fail(f"interrupted; {advice if kept else 'nothing was written.'}", ExitCode.INTERRUPTED)
    taken = time.perf_counter() - begin
    terminal.note(f"Took {duration(taken)}. Final images: {picture}")
    if as_json:
        print_json({"path": str(path), "picture": str(picture), "samples": plan.samples, "seconds": round(taken, 3)})
    else:
        click.echo(str(path))


def resume_command(arguments: list[str], path: Path) -> str:
    """Write the command line that goes on with an interrupted run."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument in ("--resume", "--overwrite") or argument.startswith("--out="):
            skip = False
        elif argument == "--out":
            skip = True
        else:
            kept.append(argument)
    return shlex.join(["mosaic", *kept, "--out", str(path), "--resume"])


def duration(seconds: float) -> str:
    """Say a time in words: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class progress_bar:
    """A bar on stderr over batches and steps, with the time left; nothing where stderr is no terminal."""

    def __init__(self, plan: Plan, terminal: Terminal) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._batches = len(plan.batches)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=terminal.quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=self._batches * len(plan.levels))

    def __enter__(self) -> Callable[[int, int, int], None]:
        self._bar.start()
        return self._step

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _step(self, batch: int, step: int, steps: int) -> None:
        description = f"batch {batch + 1}/{self._batches}, step {step}/{steps}"
        self._bar.update(self._task, completed=batch * steps + step, description=description)


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
