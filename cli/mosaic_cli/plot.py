"""`mosaic plot`: pictures of a stored run."""

from __future__ import annotations

from pathlib import Path

import click

from mosaic.errors import UsageError
from mosaic_cli.terminal import Terminal, print_json, standard

__all__ = ["command"]


@click.command("plot")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--samples", default="0", metavar="LIST", help="Samples to draw, e.g. 0,1,5.  [default: 0]")
@click.option("--columns", default=10, type=click.IntRange(2, 100), help="Steps to draw.  [default: 10]")
@click.option("--out", type=click.Path(path_type=Path), help="PNG or PDF to write.  [default: FILE's name, -flow.png]")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    file: Path,
    samples: str,
    columns: int,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Draw the reverse flow of chosen samples of FILE: state above, denoised image below, from noise to data."""
    from mosaic.picture import draw_flow, save_figure
    from mosaic.trajectory import open_trajectory

    target = out.expanduser() if out is not None else file.with_name(f"{file.stem}-flow.png")
    if target.suffix.lower() not in (".png", ".pdf"):
        raise UsageError(f"--out '{target}' must end in .png or .pdf.")
    try:
        chosen = [int(item) for item in samples.split(",")]
    except ValueError:
        raise UsageError(f"--samples '{samples}' must be a list of sample numbers such as 0,1,5.") from None
    with open_trajectory(file) as trajectory:
        figure = draw_flow(trajectory, chosen, columns)
    if target.exists() and not overwrite:
        raise UsageError(f"'{target}' exists already; use --overwrite to replace it, or another --out.")
    save_figure(figure, target)
    if as_json:
        print_json({"path": str(target)})
    else:
        click.echo(str(target))
