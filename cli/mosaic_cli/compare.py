"""`mosaic compare`: how well a theory predicts a network, image by image."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import DataError, PluginError, UsageError
from mosaic.progress import progress_bar
from mosaic.run.settings import plugin_options, with_owners
from mosaic_cli.data_options import PATH, data_dir
from mosaic_cli.terminal import Terminal, print_json, print_table, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.interfaces.dataset import DataSet

__all__ = ["command"]

PICTURES = (".png", "-agreement.png")  # side by side; how far they agree


@click.command("compare")
@click.argument("run", type=PATH)
@click.argument("reference", type=PATH)
@click.option("--baseline", type=PATH, help="A third run, to compare with REFERENCE as RUN is.")
@click.option(
    "--metrics",
    metavar="LIST",
    help="Metrics, e.g. pearson_r,local_consistency.  [default: pearson_r,r2,R2,cosine,mse,nearest_train,memorized, "
    "and what plugins add to these]",
)
@click.option(
    "-o", "options", multiple=True, metavar="KEY=VALUE", help="An option of a metric, e.g. local_consistency.k=5."
)
@data_dir
@click.option("--out", type=PATH, help="netCDF file to write.  [default: an unused comparison-NNN.nc here]")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    run: Path,
    reference: Path,
    baseline: Path | None,
    metrics: str | None,
    options: tuple[str, ...],
    data_dir: Path | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Compare the final images of RUN with those of REFERENCE, made from the same noise and labels (--init).

    Prints the median over samples of each metric, with a 95 % bootstrap interval. Writes one netCDF file of the values
    of every sample, and beside it two PNGs: the images side by side, and how far they agree.
    """
    from mosaic.disk.atomic import write_together
    from mosaic.evaluate.compare import compare
    from mosaic.registry.loading import registry
    from mosaic.storage.files import store
    from mosaic.storage.trajectory import open_trajectory
    from mosaic.view.images import write_figure

    inputs = [path for path in (run, reference, baseline) if path is not None]
    target = _target(out, overwrite, inputs)
    names = registry().default_metrics() if metrics is None else [name.strip() for name in metrics.split(",")]
    needing = [name for name in names if registry().get("metric", name).needs_dataset]
    sorted_options = with_owners(
        plugin_options(options, names), {name: registry().get("metric", name).Options for name in names}
    )
    given = {name.removesuffix("_options"): values for name, values in sorted_options.items()}
    with ExitStack() as stack:
        runs = [stack.enter_context(open_trajectory(path)) for path in inputs]
        dataset = None
        try:
            dataset = _training_set(runs[0], data_dir) if needing else None
        except (DataError, PluginError, UsageError) as error:
            if metrics is not None:  # only those that were not asked for by name may be left out
                raise
            terminal.note(f"Note: without the training set, {', '.join(needing)} are left out. {error}")
            names = [name for name in names if name not in needing]
        with progress_bar(not terminal.quiet) as bar:
            comparison = compare(*runs, metrics=names, options=given, dataset=dataset, progress=bar)
        figures = [comparison.mosaic.plot.images(), comparison.mosaic.plot.agreement()]
        if out is None:  # another comparison may have taken the name since
            target = _target(out, overwrite, inputs)
        pictures = [target.with_name(target.stem + ending) for ending in PICTURES]
        writers: dict[Path, Callable[[Path], None]] = {target: partial(store, comparison)}
        writers |= {picture: partial(write_figure, figure) for picture, figure in zip(pictures, figures, strict=True)}
        write_together(writers, writers if overwrite else ())
    terminal.note(f"Values: {target}. Pictures: {', '.join(map(str, pictures))}")
    if as_json:
        summary = {name: _summary(comparison, name) for name in names if name in comparison}
        print_json({"path": str(target), "pictures": [str(path) for path in pictures], "metrics": summary})
    else:
        _print(comparison, names, [run["name"] for run in json.loads(comparison.attrs["runs"]).values()])


def _target(out: Path | None, overwrite: bool, inputs: list[Path]) -> Path:
    """Where to write; refuses a place that is taken, or is one of the runs that are compared."""
    from mosaic.storage.output import Output

    if out is None:
        output = Output.unused("comparison", PICTURES)
    else:
        output = Output(out.expanduser(), overwrite=overwrite, beside=PICTURES)
    if any(output.path.exists() and path.exists() and output.path.samefile(path) for path in inputs):
        raise UsageError(f"`out` '{output.path}' is one of the runs to compare; choose another place.")
    output.check()
    return output.path


def _training_set(run: xr.Dataset, data_dir: Path | None) -> DataSet:
    from mosaic.registry.data import data_access
    from mosaic.storage.trajectory import training_set_of

    return training_set_of(run, data_access(data_dir))


def _summary(comparison: xr.Dataset, name: str) -> dict[str, Any]:
    """Median and interval of a metric, by role, and what the run gains on the baseline."""
    dim = comparison[name].dims[0]
    ends = (_statistic(comparison, name), "low", "high")
    summary: dict[str, Any] = {
        role: {end: float(comparison[f"{name}_{end}"][i]) for end in ends}
        for i, role in enumerate(comparison[dim].values)
    }
    if f"{name}_gain" in comparison:
        tails = ("", "_low", "_high")
        summary["gain"] = {end: float(comparison[f"{name}_gain{tail}"]) for end, tail in zip(ends, tails, strict=True)}
    if "chance" in comparison[name].attrs:
        summary["chance"] = comparison[name].attrs["chance"]
    return summary


def _statistic(comparison: xr.Dataset, name: str) -> str:
    """What sums a metric up: median, mean or share."""
    return next(statistic for statistic in ("median", "mean", "share") if f"{name}_{statistic}" in comparison)


def _print(comparison: xr.Dataset, names: list[str], titles: list[str]) -> None:
    """Print one row a metric and one column a run: median [interval]."""
    roles = ["run", "reference", "baseline"][: len(titles)]
    gain = ["gain"] if len(roles) == 3 else []
    header = ["METRIC (median [95 %])", *titles, *([f"{titles[0]} - {titles[2]}"] if gain else [])]
    rows = []
    for name in (name for name in names if name in comparison):
        summary = _summary(comparison, name)
        statistic = _statistic(comparison, name)
        chance = f"; {comparison[name].attrs['chance']:.3f} by chance" if "chance" in comparison[name].attrs else ""
        title = name if statistic == "median" else f"{name} ({statistic}{chance})"
        rows.append([title, *(_cell(summary.get(role)) for role in [*roles, *gain])])
    print_table(header, rows)


def _cell(values: dict[str, float] | None) -> str:
    if values is None:
        return ""
    value, low, high = values.values()
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
