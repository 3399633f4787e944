"""`mosaic plot`: pictures of a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mosaic.errors import UsageError, did_you_mean
from mosaic_cli.data_options import PATH, data_dir
from mosaic_cli.terminal import Terminal, print_json, say, standard

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["KINDS", "command"]

KINDS = ("flow", "images", "provenance", "entropy", "scales", "sources")


@click.command("plot")
@click.argument("file", type=PATH)
@click.argument("kind", default="flow")
@click.option("--samples", default="0", metavar="LIST", help="Samples to draw, e.g. 0,1,5.  [default: 0]")
@click.option("--columns", default=10, type=click.IntRange(2, 100), help="Steps to draw.  [default: 10]")
@data_dir
@click.option("--out", type=PATH, help="PNG or PDF to write.  [default: FILE's name, -KIND.png]")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    file: Path,
    kind: str,
    samples: str,
    columns: int,
    data_dir: Path | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Draw the run in FILE.

    KIND is flow (the default: the reverse flow of --samples, states above, denoised images below), images (all final
    images), provenance (--samples coloured by the training images that their pixels come from, these beside; reads the
    training set), entropy (effective number of candidates; needs a run with --save entropy --save-steps all), scales
    (over time; also of a calibration) or sources (how many training images each sample is made of, in what tiles).
    """
    from mosaic.storage.files import check_free, open_stored
    from mosaic.view.images import save_figure

    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.{did_you_mean(kind, KINDS)} Kinds: {', '.join(KINDS)}.")
    try:
        chosen = [int(item) for item in samples.split(",")]
    except ValueError:
        raise UsageError(f"`samples` '{samples}' must be a list of sample numbers such as 0,1,5.") from None
    with open_stored(file, _schemas(kind), "a stored run" + " or calibration" * (kind == "scales")) as stored:
        target = out.expanduser() if out is not None else file.with_name(f"{file.stem}-{kind}.png")
        if target.suffix.lower() not in (".png", ".pdf"):
            raise UsageError(f"`out` '{target}' must end in .png or .pdf.")
        check_free(target, overwrite)
        figure = _draw(stored, kind, chosen, columns, data_dir)
    save_figure(figure, target, overwrite)
    if as_json:
        print_json({"path": str(target)})
    else:
        say(str(target))


def _schemas(kind: str) -> tuple[str, ...]:
    from mosaic.storage.schema import CALIBRATION_SCHEMA, TRAJECTORY_SCHEMA

    return (TRAJECTORY_SCHEMA, CALIBRATION_SCHEMA) if kind == "scales" else (TRAJECTORY_SCHEMA,)


def _draw(stored: xr.Dataset, kind: str, samples: list[int], columns: int, data_dir: Path | None) -> Figure:
    from mosaic.storage.schema import CALIBRATION_SCHEMA
    from mosaic.view.accessor import MosaicAccessor
    from mosaic.view.images import draw_flow, draw_images
    from mosaic.view.provenance import draw_entropy, draw_provenance, draw_sources
    from mosaic.view.scales import draw_run_scales, draw_scales

    if kind == "flow":
        return draw_flow(stored, samples, columns)
    if kind == "images":
        return draw_images(stored)
    if kind == "provenance":
        run = MosaicAccessor(stored)
        run.provenance()  # before the training set is read, which can take long
        return draw_provenance(stored, samples, run.training_set(data_dir))
    if kind == "entropy":
        return draw_entropy(stored, samples, columns)
    if kind == "sources":
        return draw_sources(stored)
    return draw_scales(stored) if stored.attrs["schema"] == CALIBRATION_SCHEMA else draw_run_scales(stored)
