"""`mosaic calibrate`: choose locality scales by a trained network."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mosaic.calibration_config import CalibrationConfig
from mosaic.errors import ExitCode, UsageError
from mosaic_cli.data_options import data_dir, memory
from mosaic_cli.progress import ProgressBar, duration
from mosaic_cli.resumption import command_to_go_on
from mosaic_cli.settings import layers_of, settings
from mosaic_cli.terminal import Terminal, print_json, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.calibration_plan import CalibrationPlan

__all__ = ["command"]


@click.command("calibrate")
@settings(CalibrationConfig)
@data_dir
@memory
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("scales.nc"),
    help="netCDF file to write.  [default: scales.nc]",
)
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@click.option("--resume", is_flag=True, help="Go on with the unfinished calibration at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    options: tuple[str, ...],
    config: Path | None,
    data_dir: Path | None,
    memory: str | None,
    out: Path,
    overwrite: bool,
    resume: bool,
    **flags: str | None,
) -> None:
    """Choose the scales at which a machine predicts best the noise that a trained network does.

    Runs the network's own reverse flow and compares, at each step and for every scale, the machine's eps with its. The
    scale of a step is the median over samples of the one that agrees best. Writes one netCDF file, which --scales of
    mosaic run reads, and beside it a PNG of the scales and their spread; prints the file's path.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other.")
    layers = layers_of(CalibrationConfig, flags, options, config)

    from mosaic.calibration import open_calibration
    from mosaic.calibration_picture import draw_scales
    from mosaic.calibration_plan import prepare_calibration
    from mosaic.picture import save_figure
    from mosaic.runner import data_access
    from mosaic.store import RunStore

    out = out.expanduser()
    store, picture = RunStore(out, open_calibration), out.with_suffix(".png")
    begun = store.configuration() if resume else None
    if begun is not None:
        layers.insert(1, begun)
    elif resume:
        terminal.note(f"Note: there is no calibration at '{out}' to go on with; it begins.")
    store.check_place(resume=resume, overwrite=overwrite)
    if picture.exists() and not overwrite and begun is None:
        raise UsageError(f"'{picture}' exists already; use --overwrite to replace it, or another --out.")
    plan = prepare_calibration(layers, data_access(data_dir, False), memory)
    for note in plan.network.notes:
        terminal.note(f"Note: {note}")
    if terminal.verbose:
        for key, value in plan.config.model_dump(mode="json").items():
            terminal.note(f"{key}: {value}")
    found, seconds = _calibrate(plan, out, terminal, resume=resume, overwrite=overwrite)
    save_figure(draw_scales(found), picture)
    scales, ratios = found["scale"].values.tolist(), (found["noise"] / found["signal"]).values.tolist()
    terminal.note(f"Took {duration(seconds)}. Scales, from the lowest noise up: {' '.join(map(str, scales[::-1]))}")
    if as_json:
        document = {"path": str(out), "picture": str(picture), "seconds": round(seconds, 3)}
        print_json({**document, "scales": scales[::-1], "noise_to_signal": ratios[::-1]})
    else:
        click.echo(str(out))


def _calibrate(plan: CalibrationPlan, out: Path, terminal: Terminal, **settings: bool) -> tuple[xr.Dataset, float]:
    """Calibrate, with a bar; also gives the seconds it took."""
    from mosaic.calibration import execute_calibration
    from mosaic.store import RunStore

    begin, batches = time.perf_counter(), len(plan.network.batches)

    def progress(batch: int, done: int, total: int) -> None:
        bar.show(batch + done / total, f"batch {batch + 1}/{batches}, comparison {done}/{total}")

    try:
        with (
            ProgressBar(batches, terminal) as bar,
            execute_calibration(plan, out, **settings, progress=progress) as stored,
        ):
            found = stored.load()
    except KeyboardInterrupt:
        kept = f"finished batches are kept. Go on with: {command_to_go_on(sys.argv[1:], out)}"
        unfinished = RunStore(out).parts.exists()
        terminal.fail(f"interrupted; {kept if unfinished else 'nothing was written.'}", ExitCode.INTERRUPTED)
    return found, time.perf_counter() - begin
