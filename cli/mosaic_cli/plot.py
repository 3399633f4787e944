"""`mosaic plot`: pictures of a stored result."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import click

from mosaic.errors import UsageError, did_you_mean
from mosaic_cli.data_options import PATH, data_dir
from mosaic_cli.terminal import Terminal, print_json, say, standard

__all__ = ["command"]


@click.command("plot")
@click.argument("file", type=PATH)
@click.argument("kind", required=False)
@click.option("--samples", metavar="LIST", help="Samples to draw, e.g. 0,1,5.  [default: 0]")
@click.option(
    "--columns", type=click.IntRange(2, 100), help="Steps, times or modes to draw.  [default: 10; of entropy 8]"
)
@data_dir
@click.option("--out", type=PATH, help="PNG or PDF to write.  [default: FILE's name, -KIND.png]")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    file: Path,
    kind: str | None,
    samples: str | None,
    columns: int | None,
    data_dir: Path | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Draw the result in FILE.

    KIND of a run is flow (the default: the reverse flow of --samples, states above, denoised images below), images (all
    final images), provenance (--samples as mosaics of the training images that their pixels come from, these beside;
    reads the training set), entropy (effective number of candidates; needs a run with --save entropy --save-steps all),
    scales (over time) or sources (how many training images each sample is made of, in what tiles). A comparison has
    images (the default) and agreement, a calibration scales, a leaderboard agreement, a probe curves (the default, over
    time), fields (receptive ones) and modes (leading eigenvectors of --samples), a generalization gap losses.
    """
    from mosaic.run.settings import refuse_unused
    from mosaic.storage.files import check_free, open_stored
    from mosaic.view.accessor import MosaicAccessor
    from mosaic.view.images import save_figure
    from mosaic.view.plot import NEEDS, PICTURED, Plots, kinds_of

    known = [name for name in vars(Plots) if not name.startswith("_")]
    if kind is not None and kind not in known:
        raise UsageError(f"There is no kind '{kind}'.{did_you_mean(kind, known)} Kinds: {', '.join(known)}.")
    given: dict[str, Any] = {"samples": _samples(samples), "columns": columns}
    with open_stored(file, tuple(PICTURED), f"none of {', '.join(PICTURED.values())}") as stored:
        result = MosaicAccessor(stored)
        kind = kind or next(iter(NEEDS[stored.attrs["schema"]]))
        target = out.expanduser() if out is not None else file.with_name(f"{file.stem}-{kind}.png")
        if target.suffix.lower() not in (".png", ".pdf"):
            raise UsageError(f"`out` '{target}' must end in .png or .pdf.")
        check_free(target, overwrite)
        draw = getattr(result.plot, kind)
        parameters = signature(draw).parameters
        if data_dir is not None and "dataset" in parameters and kind in kinds_of(stored):
            given["dataset"] = result.training_set(data_dir)
        unused = {name: value for name, value in given.items() if name not in parameters}
        unused |= {} if "dataset" in parameters else {"data_dir": data_dir}
        refuse_unused(unused, f"the picture '{kind}' does not depend on it")
        figure = draw(**{name: value for name, value in given.items() if value is not None})
    save_figure(figure, target, overwrite)
    if as_json:
        print_json({"path": str(target)})
    else:
        say(str(target))


def _samples(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(item) for item in text.split(",")]
    except ValueError:
        raise UsageError(f"`samples` '{text}' must be a list of sample numbers such as 0,1,5.") from None
