"""`mosaic calibrate`: choose locality scales by a trained network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mosaic.errors import ExitCode
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.progress import progress_bar
from mosaic_cli.data_options import PATH, data_dir, memory, scheduler
from mosaic_cli.durations import duration
from mosaic_cli.pictures import save_beside
from mosaic_cli.resumption import advice_after
from mosaic_cli.settings import configured, settings
from mosaic_cli.terminal import Terminal, print_json, say, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.evaluate.calibration.plan import CalibrationPlan
    from mosaic.storage.output import Output

__all__ = ["command"]


@click.command("calibrate")
@settings(CalibrationConfig)
@data_dir
@memory
@scheduler
@click.option(
    "--out",
    type=PATH,
    default=Path("scales.nc"),
    help="netCDF file to write.  [default: scales.nc]",
)
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@click.option("--resume", is_flag=True, help="Resume the unfinished calibration at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    options: tuple[str, ...],
    config: Path | None,
    data_dir: Path | None,
    memory: str | None,
    scheduler: str | None,
    out: Path,
    overwrite: bool,
    resume: bool,
    **flags: str | None,
) -> None:
    """Choose the scales at which a machine predicts best the noise that a trained network does.

    Runs the network's own reverse flow and compares, at each step and for every scale, the machine's eps with its. The
    scale of a step is the median over samples of the one that agrees best; a note names the times whose scale is the
    largest or smallest tried. Writes one netCDF file, which --scales of mosaic run reads, and beside it a PNG of the
    scales and their spread; prints the file's path.
    """
    # Settings are checked before anything heavy is imported.
    checked = None if resume else configured(CalibrationConfig, flags, options, config)

    from mosaic.evaluate.calibration.prepare import prepare_calibration
    from mosaic.registry.data import data_access
    from mosaic.storage.output import Output

    output = Output(out.expanduser(), resume, overwrite, beside=(".png",))
    kept = output.kept_settings(CalibrationConfig)
    if resume and not kept and not output.is_unfinished():
        terminal.note(f"Note: there is no calibration at '{out}' to resume; it starts.")
    plan = prepare_calibration(
        checked or configured(CalibrationConfig, flags, options, config, kept),
        data_access(data_dir),
        memory=memory,
        output=output,
    )
    for note in plan.notes:
        terminal.note(f"Note: {note}")
    if terminal.verbose:
        for key, value in plan.config.model_dump(mode="json").items():
            terminal.note(f"{key}: {value}")
    calibration, picture, seconds = _calibrate(plan, output, scheduler, terminal)
    _report(calibration, seconds, output.path, picture, terminal, as_json)


def _calibrate(
    plan: CalibrationPlan, output: Output, scheduler: str | None, terminal: Terminal
) -> tuple[xr.Dataset, Path, float]:
    """Calibrate, with a bar, and draw the scales; also gives the picture and the seconds it took."""
    from mosaic.evaluate.calibration.calibrate import start
    from mosaic.run.cluster import connected
    from mosaic.view.scales import draw_scales

    begin, replaceable, done = time.perf_counter(), output.replaceable(), False
    try:
        with (
            connected(scheduler),
            progress_bar(not terminal.quiet) as bar,
            start(plan, bar) as stored,
            output.reading(),
        ):
            done = True
            calibration = stored.load()
        seconds = time.perf_counter() - begin
        picture = save_beside(draw_scales(calibration), output.path, replaceable)
    except KeyboardInterrupt:
        terminal.fail(f"interrupted; {advice_after(output, done)}", ExitCode.INTERRUPTED)
    return calibration, picture, seconds


def _report(
    calibration: xr.Dataset, seconds: float, path: Path, picture: Path, terminal: Terminal, as_json: bool
) -> None:
    """Print the scales, or the path."""
    from mosaic.evaluate.calibration.ends import ends_notes

    scales = calibration["scale"].values.tolist()[::-1]
    ratios = (calibration["noise"] / calibration["signal"]).values.tolist()[::-1]
    terminal.note(f"Took {duration(seconds)}. Scales, from the lowest noise up: {' '.join(f'{k:.4g}' for k in scales)}")
    for note in ends_notes(calibration):
        terminal.note(f"Note: {note}")
    if as_json:
        document = {"path": str(path), "picture": str(picture), "seconds": round(seconds, 3)}
        print_json({**document, "scales": scales, "noise_to_signal": ratios})
    else:
        say(str(path))
