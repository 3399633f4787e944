"""`mosaic report`: one self-contained page about stored runs."""

from __future__ import annotations

from pathlib import Path

import click

from mosaic.errors import UsageError
from mosaic.progress import progress_bar
from mosaic_cli.data_options import PATH, data_dir
from mosaic_cli.terminal import Terminal, print_json, say, standard

__all__ = ["command"]


@click.command("report")
@click.argument("files", type=PATH, nargs=-1, required=True, metavar="FILE...")
@click.option("--samples", metavar="LIST", help="Samples to show, e.g. 0,1,5.  [default: the first 16]")
@click.option("--title", help="Title of the page.  [default: what the runs are of]")
@data_dir
@click.option("--out", type=PATH, default=Path("report.html"), help="Page to write.  [default: report.html]")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    files: tuple[Path, ...],
    samples: str | None,
    title: str | None,
    data_dir: Path | None,
    out: Path,
    overwrite: bool,
) -> None:
    """Make one page about the runs in FILE..., side by side, that works without a network.

    It shows their samples, reverse flow and locality scales. For each pixel it shows the training pixel it comes from,
    with its window and tile, and its weight and entropy at each step (of runs made with --save provenance,entropy
    --save-steps all). It also shows the training image nearest to the sample. Of several runs it shows the settings
    that differ, and the differences of images that started from the same noise.
    """
    from mosaic.view.report.report import check_page_path, report

    check_page_path(out.expanduser(), overwrite)
    try:
        chosen = None if samples is None else [int(item) for item in samples.split(",")]
    except ValueError:
        raise UsageError(f"`samples` '{samples}' must be a list of sample numbers such as 0,1,5.") from None
    with progress_bar(not terminal.quiet) as bar:
        made = report(files, samples=chosen, title=title, data_dir=data_dir, progress=bar)
    path = made.save(out, overwrite)
    if as_json:
        print_json({"path": str(path), "bytes": path.stat().st_size})
    else:
        say(str(path))
