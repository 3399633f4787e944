"""`mosaic reproduce`: the paper's tables and figures."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import ExitCode
from mosaic.reproduction.rows import ROWS, THEORIES, ReproduceConfig
from mosaic_cli.data_options import data_dir, download
from mosaic_cli.progress import ProgressBar, duration
from mosaic_cli.settings import layers_of, settings
from mosaic_cli.terminal import Terminal, print_json, print_table, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.reproduction.target import Target

__all__ = ["command"]


@click.command("reproduce")
@click.argument("name")
@settings(ReproduceConfig)
@click.option("--row", "rows", multiple=True, metavar="ROW", help="Only this row of table 2; may be repeated.")
@click.option("--memory", metavar="SIZE", help="Budget of the machines, such as 2G.  [default: a quarter]")
@data_dir
@download
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reproduction"),
    help="Folder of everything that is made; what is there is gone on with.  [default: reproduction]",
)
@click.option("--dry-run", is_flag=True, help="Say what there is to do and how long it will take, and stop.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    name: str,
    options: tuple[str, ...],
    config: Path | None,
    rows: tuple[str, ...],
    memory: str | None,
    data_dir: Path | None,
    download: bool,
    out: Path,
    dry_run: bool,
    **flags: str | None,
) -> None:
    """Reproduce NAME, a table or figure of Kamb & Ganguli (ICML 2025), or an experiment of its own kind.

    \b
    table2        trained networks against ELS, LS and IS, image by image, beside the paper's medians
    fig3          mosaics of a black and a white image
    fig4          receptive fields of networks over time, and calibrated scales
    fig5c         excess limbs: scales as calibrated, and doubled late in the flow
    fig6          a UNet with self-attention beside ELS
    memorization  ELS at multiplied scales: from mosaics towards copies
    attention     images whose halves must agree: ELS with and without attention, and networks
    attention-tradeoff  their consistency against novelty as the scale grows

    Trains (or reuses) networks, calibrates scales, runs theories and network from the same noise, and compares.
    Everything is kept in --out, in a folder for each preset and row; the same command goes on after an interruption.
    Writes NAME.nc and NAME.png there. Rows that have not been run are missing in the table.
    """
    layers = layers_of(ReproduceConfig, flags, options, config)

    from mosaic.config import layered
    from mosaic.reproduction.reproduce import prepare_reproduction
    from mosaic.reproduction.target import Study
    from mosaic.runner import data_access

    resolved = layered(ReproduceConfig, *layers)
    with ProgressBar(1.0, terminal) as bar:
        study = Study(
            resolved,
            out.expanduser() / resolved.preset,
            data_access(data_dir, download),
            memory,
            lambda step, share, words: bar.show(share, f"{step}, {words}"),
        )
        target = prepare_reproduction(name, study, rows)
        bar.show(0.0, "measuring how long it will take")
        planned = _announce(target, terminal)
        found = None if dry_run else _execute(target, terminal)
    files = {"path": str(study.folder / f"{name}.nc"), "picture": str(study.folder / f"{name}.png")}
    if as_json:
        print_json(planned if found is None else {**files, **_document(found)})
    elif found is not None:
        _print(found)
        click.echo(files["path"])


def _execute(target: Target, terminal: Terminal) -> xr.Dataset:
    """Do the work, and say how long it took."""
    from mosaic.reproduction.reproduce import execute_reproduction

    begin = time.perf_counter()
    try:
        found = execute_reproduction(target)
    except KeyboardInterrupt:
        terminal.fail("interrupted; what is done is kept. Go on with the same command.", ExitCode.INTERRUPTED)
    terminal.note(f"Took {duration(time.perf_counter() - begin)}.")
    for line in target.told(found):
        terminal.note(line)
    return found


def _announce(target: Target, terminal: Terminal) -> dict[str, Any]:
    """Say what there is to do and how long it will take."""
    from mosaic.reproduction.reproduce import forecast_reproduction

    for note in target.notes():
        terminal.note(f"Note: {note}")
    steps = forecast_reproduction(target)
    total = sum(step.seconds for step in steps)
    older = [step.step for step in steps if step.other_code]
    for step in steps:
        done = "done, by other code of mosaic" if step.other_code else "done"
        terminal.note(f"{step.step}: {done if step.done else f'about {duration(step.seconds)}'}")
    everything = all(step.done for step in steps)
    terminal.note("Everything has been computed." if everything else f"About {duration(total)} in all.")
    if older:
        terminal.note("Note: what other code made is used as it is; remove the row's folder to make it anew.")
    left = {step.step: None if step.done else step.seconds for step in steps}
    return {"seconds": total, "steps": left, "other_code": older}


def _print(found: xr.Dataset) -> None:
    """Print the table, where there is one."""
    if "gain" not in found:
        return
    header = ("ROW", *(f"{theory.upper()} (paper)" for theory in THEORIES), "ELS - IS", "SAMPLES")
    lines = []
    for row in ROWS:
        one = found.sel(row=row)
        cells = [
            f"{_interval([float(one[f'pearson_r_{end}'].sel(theory=theory)) for end in ('median', 'low', 'high')])} "
            f"({float(one['paper'].sel(theory=theory)):.2f})"
            for theory in THEORIES
        ]
        count = int(one["pearson_r"].sel(theory="els").notnull().sum())
        lines.append((row, *cells, _interval(one["gain"].values.tolist()), str(count) if count else "not run"))
    print_table(header, lines)


def _interval(values: list[float]) -> str:
    median, low, high = values
    return "missing" if math.isnan(median) else f"{median:.3f} [{low:.3f}, {high:.3f}]"


def _document(found: xr.Dataset) -> dict[str, Any]:
    """Everything but the samples, as JSON."""
    kept = found.drop_vars([name for name, variable in found.data_vars.items() if "sample" in variable.dims])
    return {"attributes": dict(found.attrs), "data": kept.to_dict()["data_vars"], "coords": kept.to_dict()["coords"]}
