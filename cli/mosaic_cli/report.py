"""`mosaic report`: one self-contained page about stored runs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mosaic.errors import DataError, UsageError
from mosaic_cli.data_options import PATH, data_dir
from mosaic_cli.terminal import Terminal, print_json, say, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.interfaces.dataset import DataSet

__all__ = ["command"]


@click.command("report")
@click.argument("files", type=PATH, nargs=-1, required=True, metavar="FILE...")
@click.option("--samples", metavar="LIST", help="Samples to show, e.g. 0,1,5.  [default: the first 16]")
@click.option("--title", default="Mosaics", help="Title of the page.  [default: Mosaics]")
@data_dir
@click.option("--out", type=PATH, default=Path("report.html"), help="Page to write.  [default: report.html]")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    files: tuple[Path, ...],
    samples: str | None,
    title: str,
    data_dir: Path | None,
    out: Path,
    overwrite: bool,
) -> None:
    """Make one page about the runs in FILE..., side by side, that works without a network.

    It shows their configuration, samples and reverse flow, and for each pixel the training pixel it comes from, with
    its window, weight and entropy at each step (of runs made with --save provenance,entropy --save-steps all).
    """
    from mosaic.disk.atomic import replacing
    from mosaic.storage.files import check_free
    from mosaic.storage.trajectory import open_trajectory
    from mosaic.view.report.page import make_report

    out = out.expanduser()
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"`out` '{out}' must end in .html.")
    check_free(out, overwrite)
    try:
        chosen = None if samples is None else [int(item) for item in samples.split(",")]
    except ValueError:
        raise UsageError(f"`samples` '{samples}' must be a list of sample numbers such as 0,1,5.") from None
    with ExitStack() as stack:
        stems = [file.stem for file in files]
        names = [file.stem if stems.count(file.stem) == 1 else str(file) for file in files]
        runs = [(name, stack.enter_context(open_trajectory(file))) for name, file in zip(names, files, strict=True)]
        datasets = [_training_set(file, run, data_dir, terminal) for file, (_, run) in zip(files, runs, strict=True)]
        page = make_report(runs, datasets, chosen, title)
    with replacing(out, overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")
    if as_json:
        print_json({"path": str(out), "bytes": out.stat().st_size})
    else:
        say(str(out))


def _training_set(file: Path, run: xr.Dataset, data_dir: Path | None, terminal: Terminal) -> DataSet | None:
    """The training set of a run with provenance; none, and a note, where it is not there."""
    from mosaic.view.accessor import MosaicAccessor

    if "source_image" not in run:
        terminal.note(
            f"Note: '{file}' keeps no provenance, so its pixels cannot be traced (mosaic run --save provenance)."
        )
        return None
    try:
        return MosaicAccessor(run).training_set(data_dir)
    except DataError as error:
        terminal.note(f"Note: the training images of '{file}' are left out. {error}")
        return None
