"""`mosaic probe`: what Jacobians of scores, and their answers to shifts, say of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import UsageError
from mosaic.progress import progress_bar
from mosaic_cli.data_options import PATH
from mosaic_cli.subjects import options_of, subjects, times_of
from mosaic_cli.terminal import Terminal, print_json, print_table, standard

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["command"]

PICTURES = {"curves": ".png", "fields": "-fields.png", "modes": "-modes.png"}

# Columns of the table, and entries of the document: medians over samples.
MEASURES = {
    "field_width": "FIELD",
    "effective_rank": "RANK",
    "trace": "TRACE",
    "curl": "CURL",
    "equivariance_error": "SHIFTED",
    "equivariance_error_interior": "INTERIOR",
    "similarity": "SIMILARITY",
}


@click.command("probe")
@subjects
@click.option(
    "--samples", metavar="N", type=click.IntRange(1), default=4, help="Training images, the first ones.  [default: 4]"
)
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, help="Seed of noise and shifts.  [default: 0]")
@click.option(
    "--modes",
    metavar="N",
    type=click.IntRange(0),
    default=8,
    help="Eigenvalues and eigenvectors to keep.  [default: 8]",
)
@click.option("--shifts", metavar="N", type=click.IntRange(1), default=4, help="Shifts of each image.  [default: 4]")
@click.option("--out", type=PATH, help="netCDF file to write.  [default: an unused probe-NNN.nc here]")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    scores: tuple[str, ...],
    checkpoint: Path | None,
    dataset: str | None,
    times: str | None,
    options: tuple[str, ...],
    data_dir: Path | None,
    out: Path | None,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Measure how local, how symmetric and how equivariant SCOREs are, at noisy training images.

    J is the derivative of x0hat by x, times the signal a. Prints, for each score and time, medians over samples: FIELD,
    the side of the square about the central pixel that holds 95 % of its squared receptive field; RANK, the effective
    number of eigenvalues of J, and TRACE, their sum; CURL, the antisymmetric share of J, 0 of the gradient of a density
    and 1 at most; SHIFTED, the error of x0hat of shifted images over the standard deviation of the data; INTERIOR, that
    of pixels whose windows do not meet the border; SIMILARITY, the cosine of J with the first score's. Writes one
    netCDF file of all samples, with receptive fields and eigenvectors, and beside it three PNGs: curves, fields and
    modes. A J of D values takes 64 D^2 bytes, which must fit half of the memory.
    """
    from mosaic.disk.atomic import write_together
    from mosaic.evaluate.probe.probe import probe
    from mosaic.storage.files import store
    from mosaic.storage.output import Output
    from mosaic.view.images import write_figure

    if not scores and checkpoint is None:
        raise UsageError("Name a score model, such as els, or give a network by `checkpoint`.")
    endings = tuple(PICTURES[kind] for kind in PICTURES if kind != "modes" or settings["modes"])

    def target() -> Path:
        if out is None:
            return Output.unused("probe", endings).path
        output = Output(out.expanduser(), overwrite=overwrite, beside=endings)
        output.check()
        return output.path

    target()
    for_scores, for_data = options_of(options, scores, dataset)
    with progress_bar(not terminal.quiet) as bar:
        probed = probe(
            [*([] if checkpoint is None else [checkpoint]), *scores],
            dataset,
            times=times_of(times),
            score_options=for_scores,
            dataset_options=for_data,
            data_dir=data_dir,
            progress=bar,
            **settings,
        )
    drawn = {ending: getattr(probed.mosaic.plot, kind)() for kind, ending in PICTURES.items() if ending in endings}
    path = target()  # another probe may have taken the name since
    pictures = {path.with_name(path.stem + ending): figure for ending, figure in drawn.items()}
    writers: dict[Path, Callable[[Path], None]] = {path: partial(store, probed)}
    writers |= {picture: partial(write_figure, figure) for picture, figure in pictures.items()}
    write_together(writers, writers if overwrite else ())
    terminal.note(f"Values: {path}. Pictures: {', '.join(map(str, pictures))}")
    if as_json:
        print_json({"path": str(path), "pictures": [str(picture) for picture in pictures], "scores": _document(probed)})
    else:
        _print(probed)


def _document(probed: xr.Dataset) -> dict[str, Any]:
    """Medians over samples by score, measure and time; how each Jacobian was found."""
    kept = [name for name in MEASURES if name in probed]
    return {
        name: {
            "method": str(probed["method"].values[row]),
            "times": probed["time"].values.tolist(),
            "scales": probed["scale"].values[row].tolist(),
            **{measure: probed[measure].isel(score=row).median("sample").values.tolist() for measure in kept},
        }
        for row, name in enumerate(probed["score"].values.tolist())
    }


def _print(probed: xr.Dataset) -> None:
    """Print a row for each score and time."""
    kept = [name for name in MEASURES if name in probed]
    rows = []
    for name, said in _document(probed).items():
        for column, t in enumerate(said["times"]):
            scale = said["scales"][column]
            cells = [_cell(measure, said[measure][column]) for measure in kept]
            rows.append((name, f"{t:.2f}", f"{scale:g}" if scale else "", *cells, said["method"]))
    print_table(("SCORE", "TIME", "K", *(MEASURES[name] for name in kept), "JACOBIAN"), rows)


def _cell(measure: str, value: float) -> str:
    if value != value:
        return ""
    return (
        f"{value:g}" if measure == "field_width" else f"{value:.1f}" if measure == "effective_rank" else f"{value:.3f}"
    )
