"""`mosaic generalization`: denoising losses of training and of held-out images, and the gap between them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import ExitCode, UsageError
from mosaic.progress import progress_bar
from mosaic.run.settings import plugin_options
from mosaic_cli.data_options import PATH
from mosaic_cli.durations import duration
from mosaic_cli.pictures import save_beside
from mosaic_cli.resumption import advice_after
from mosaic_cli.subjects import options_of, subjects, times_of
from mosaic_cli.terminal import Terminal, print_json, print_table, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.evaluate.generalization.plan import GeneralizationPlan
    from mosaic.storage.output import Output

__all__ = ["command"]

TITLES = {"training": "TRAINING", "held_out": "HELD OUT", "left_out": "LEFT OUT"}


@click.command("generalization")
@subjects
@click.option(
    "--held-out",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the training set that gives other images: split=test, path=FILE, or skip=N beside limit=N; may "
    "be repeated.",
)
@click.option("--samples", metavar="N", type=click.IntRange(1), default=64, help="Images of each set.  [default: 64]")
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    help="Seed of the choice of images and of their noise.  [default: 0]",
)
@click.option(
    "--leave-one-out",
    is_flag=True,
    help="Also denoise training images with machines that do not have them: as long again as for training images.",
)
@click.option("--out", type=PATH, help="netCDF file to write.  [default: an unused generalization-NNN.nc here]")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@click.option("--resume", is_flag=True, help="Resume what is unfinished at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    scores: tuple[str, ...],
    checkpoint: Path | None,
    dataset: str | None,
    held_out: tuple[str, ...],
    times: str | None,
    options: tuple[str, ...],
    data_dir: Path | None,
    out: Path | None,
    overwrite: bool,
    resume: bool,
    **settings: Any,
) -> None:
    """Compare how well SCOREs denoise training images with how well they denoise held-out images.

    The loss of an image is the mean squared error of x0hat per value, at each of the --times, with the same noise for
    all scores. Prints its mean over the images of each set, and the GAP, that of held-out images minus that of training
    images, each with a 95 % bootstrap interval; then the losses of what needs no score, the noisy image divided by the
    signal (x / a) and the mean training image. Writes one netCDF file of all losses, and beside it a PNG.
    """
    if not scores and checkpoint is None:
        raise UsageError("Name a score model, such as els, or give a network by `checkpoint`.")
    if not held_out:
        raise UsageError("Say which images are held out by `held_out`, such as split=test, or skip=N beside a limit=N.")
    if resume and out is None:
        raise UsageError("`resume` needs `out`, the result to resume.")

    from mosaic.evaluate.generalization.generalization import prepare_generalization
    from mosaic.registry.data import data_access
    from mosaic.storage.output import Output

    if out is None:
        output = Output.unused("generalization", (".png",))
    else:
        output = Output(out.expanduser(), resume, overwrite, beside=(".png",))
    for_scores, for_data = options_of(options, scores, dataset)
    plan = prepare_generalization(
        [*([] if checkpoint is None else [checkpoint]), *scores],
        dataset,
        _held_out(held_out),
        data_access(data_dir),
        times=times_of(times),
        score_options=for_scores,
        dataset_options=for_data,
        output=output,
        **settings,
    )
    for note in plan.notes:
        terminal.note(f"Note: {note}")
    path, result, seconds = _evaluate(plan, output, terminal)
    picture = path.with_suffix(".png")
    terminal.note(f"Took {duration(seconds)}. Values: {path}. Picture: {picture}")
    if as_json:
        print_json({"path": str(path), "picture": str(picture), **_document(result)})
    else:
        _print(result)


def _held_out(pairs: Sequence[str]) -> dict[str, str]:
    """Read options of a data set, KEY=VALUE or dataset.KEY=VALUE."""
    layer = plugin_options(pairs, ("dataset",))
    return {key: value for options in layer.values() for key, value in options.items()}


def _evaluate(plan: GeneralizationPlan, output: Output, terminal: Terminal) -> tuple[Path, xr.Dataset, float]:
    """Evaluate, with a bar, and draw; gives the file, the result and the seconds it took."""
    from mosaic.evaluate.generalization.generalization import start
    from mosaic.view.generalization import draw_losses

    begin = time.perf_counter()
    outputs, replaceable, done = [output], output.replaceable(), False  # the last output is the one that is used
    try:
        with progress_bar(not terminal.quiet) as bar, start(plan, bar, outputs.append) as stored, output.reading():
            done = True
            result = stored.load()
        seconds = time.perf_counter() - begin
        save_beside(draw_losses(result), outputs[-1].path, replaceable)
    except KeyboardInterrupt:
        terminal.fail(f"interrupted; {advice_after(outputs[-1], done)}", ExitCode.INTERRUPTED)
    return outputs[-1].path, result, seconds


def _document(result: xr.Dataset) -> dict[str, Any]:
    """Means and gaps by score, with intervals, along the times."""
    sets = result["set"].values.tolist()

    def ends(values: xr.Dataset, *names: str) -> dict[str, list[float]]:
        return dict(zip(("mean", "low", "high"), (values[name].values.tolist() for name in names), strict=True))

    scores = {
        name: {
            "scales": result["scale"].values[row].tolist(),
            **{
                kind: ends(result.sel(score=name, set=kind), "loss_mean", "loss_low", "loss_high")
                for kind in sets
                if result["loss_mean"].sel(score=name, set=kind).notnull().any()
            },
            "gap": ends(result.sel(score=name), "gap", "gap_low", "gap_high"),
        }
        for row, name in enumerate(result["score"].values.tolist())
    }
    references = {
        name: {kind: result["reference_loss_mean"].sel(reference=name, set=kind).values.tolist() for kind in sets}
        for name in result["reference"].values.tolist()
    }
    return {"times": result["time"].values.tolist(), "scores": scores, "references": references}


def _print(result: xr.Dataset) -> None:
    """Print a row for each score and time, then those that need no score."""
    document, sets = _document(result), result["set"].values.tolist()
    rows = []
    for name, said in document["scores"].items():
        for column, t in enumerate(document["times"]):
            cells = [_cell(said.get(kind), column) for kind in (*sets, "gap")]
            scale = said["scales"][column]
            rows.append((name, f"{t:.2f}", f"{scale:g}" if scale else "", *cells))
    for name, means in document["references"].items():
        for column, t in enumerate(document["times"]):
            rows.append((name, f"{t:.2f}", "", *(f"{means[kind][column]:.3g}" for kind in sets), ""))
    print_table(("SCORE", "TIME", "K", *(TITLES[kind] for kind in sets), "GAP"), rows)


def _cell(values: dict[str, list[float]] | None, column: int) -> str:
    if values is None:
        return ""
    mean, low, high = (values[end][column] for end in ("mean", "low", "high"))
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]"
