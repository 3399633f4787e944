"""`mosaic reproduce`: the paper's tables and figures."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import ExitCode
from mosaic.progress import progress_bar
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.rows import PAPER_THEORIES, ROWS, THEORIES
from mosaic_cli.data_options import PATH, data_dir, download, memory, scheduler
from mosaic_cli.durations import duration
from mosaic_cli.settings import configured, settings
from mosaic_cli.terminal import Terminal, print_json, print_table, say, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.reproduction.study.forecast import Forecast
    from mosaic.reproduction.study.target import Target

__all__ = ["command"]


@click.command("reproduce")
@click.argument("name")
@settings(ReproduceConfig)
@data_dir
@memory
@scheduler
@download
@click.option(
    "--out",
    type=PATH,
    default=Path("reproduction"),
    help="Folder of everything that is made; what is there is used.  [default: reproduction]",
)
@click.option("--dry-run", is_flag=True, help="Say what there is to do and how long it will take, and stop.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    name: str,
    options: tuple[str, ...],
    config: Path | None,
    data_dir: Path | None,
    memory: str | None,
    scheduler: str | None,
    download: bool,
    out: Path,
    dry_run: bool,
    **flags: str | None,
) -> None:
    """Reproduce NAME, a table or figure of Kamb & Ganguli (ICML 2025), or an experiment of mosaic's own.

    \b
    table2        networks against ELS, soft ELS, LS and IS, image by image, beside the paper's medians
    fig3          mosaics of a black and a white image
    fig4          receptive fields of networks over time, and calibrated scales
    fig5c         excess limbs: scales as calibrated, and doubled late in the flow
    fig6          a UNet with self-attention beside ELS
    memorization  ELS at multiplied scales: from mosaics towards copies
    attention     images whose halves must agree: ELS with and without attention, and networks
    attention-tradeoff  their consistency against novelty as the scale grows
    windows       which windows predict networks best: hard, soft, and other kinds
    gaussian      the Gaussian of the data first, then the network: how much it takes over
    transition    from copies to new images as the training set grows: two halves of the data
    circular      circular networks beside ELS with the paper's boundary, and with boundary circular
    training      networks after more passes and of more images: agreement with theories, and equivariance

    Trains (or reuses) networks, calibrates scales, runs theories and network from the same noise, and compares.
    Everything is kept in --out, in a folder for each preset and row; the same command resumes what was interrupted.
    Writes NAME.nc and NAME.png into the preset's folder. The table says which rows have not been run.
    """
    resolved = configured(ReproduceConfig, flags, options, config)  # before anything heavy is imported

    from mosaic.registry.data import data_access
    from mosaic.reproduction.reproduce import prepare_reproduction, prepare_study
    from mosaic.run.cluster import connected

    with progress_bar(not terminal.quiet) as bar:
        study = prepare_study(resolved, out.expanduser(), data_access(data_dir, download), memory, bar)
        target, folder = prepare_reproduction(name, study), study.folder
        announced = _announce(target, terminal, dry_run)
        with connected(None if dry_run else scheduler):
            measured = None if dry_run else _execute(target, terminal)
    files = {"path": str(folder / f"{name}.nc"), "picture": str(folder / f"{name}.png")}
    if as_json:
        print_json(announced if measured is None else {**files, **_document(measured)})
    elif measured is not None:
        _print(measured)
        say(files["path"])


def _execute(target: Target, terminal: Terminal) -> xr.Dataset:
    """Do the work, and say how long it took."""
    from mosaic.reproduction.reproduce import execute_reproduction

    begin = time.perf_counter()
    try:
        measured = execute_reproduction(target)
    except KeyboardInterrupt:
        terminal.fail("interrupted; what is done is kept. The same command resumes it.", ExitCode.INTERRUPTED)
    terminal.note(f"Took {duration(time.perf_counter() - begin)}.")
    for line in target.summary(measured):
        terminal.note(line)
    return measured


def _announce(target: Target, terminal: Terminal, measure: bool) -> dict[str, Any]:
    """Say what is done and what there is to do, with `measure` how long it will take, and with -v the settings."""
    from mosaic.reproduction.reproduce import forecast_reproduction

    for note in target.notes():
        terminal.note(f"Note: {note}")
    if terminal.verbose:
        for key, value in target.study.config.model_dump(mode="json").items():
            terminal.note(f"{key}: {value}")
    steps = forecast_reproduction(target, measure)
    for step in steps:
        terminal.note(f"{step.name}: {_state(step)}")
    total = sum(step.seconds or 0.0 for step in steps)
    if all(step.done for step in steps):
        terminal.note("All steps are done.")
    elif measure:
        terminal.note(f"Trainings and machines together: about {duration(total)}.")
    older = [step.name for step in steps if step.other_code]
    if older:
        terminal.note("Note: what other code made is used as it is; remove its folder to compute it again.")
    return {
        "seconds": total,
        "steps": {step.name: step.seconds for step in steps},
        "done": [step.name for step in steps if step.done],
        "other_code": older,
    }


def _state(step: Forecast) -> str:
    if step.done:
        return "done, by other code of mosaic" if step.other_code else "done"
    return "to do" if step.seconds is None else f"to do, about {duration(step.seconds)}"


def _print(measured: xr.Dataset) -> None:
    """Print the table, where there is one."""
    if "gain" not in measured:
        return
    named = [f"{label} (paper)" if theory in PAPER_THEORIES else label for theory, label in THEORIES.items()]
    header = ("ROW", *named, "ELS - IS", "soft ELS - ELS", "SAMPLES")
    lines = []
    for name in ROWS:
        row = measured.sel(row=name)
        cells = [
            _interval([float(row[f"pearson_r_{end}"].sel(theory=theory)) for end in ("median", "low", "high")])
            + (f" ({float(row['paper'].sel(theory=theory)):.2f})" if theory in PAPER_THEORIES else "")
            for theory in THEORIES
        ]
        cells += [_interval(row[gain].values.tolist()) for gain in ("gain", "soft_gain")]
        count = int(row["pearson_r"].sel(theory="els").notnull().sum())
        lines.append((name, *cells, str(count) if count else "not run"))
    print_table(header, lines)


def _interval(values: list[float]) -> str:
    median, low, high = values
    return "missing" if math.isnan(median) else f"{median:.3f} [{low:.3f}, {high:.3f}]"


def _document(measured: xr.Dataset) -> dict[str, Any]:
    """Everything but what each sample has, as JSON."""
    by_sample = [name for name, variable in measured.data_vars.items() if "sample" in variable.dims]
    document = measured.drop_vars(by_sample).to_dict()
    return {"attributes": dict(measured.attrs), "data": document["data_vars"], "coords": document["coords"]}
