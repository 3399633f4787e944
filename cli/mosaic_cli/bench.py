"""`mosaic bench`: how fast the engines are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mosaic.errors import UsageError
from mosaic.run.settings import plugin_options, with_owners
from mosaic_cli.data_options import data_dir
from mosaic_cli.terminal import Terminal, print_json, print_table, say, standard

__all__ = ["command"]


@click.command("bench")
@click.option("--dataset", default="mnist", metavar="NAME", help="Training set.  [default: mnist]")
@click.option("-o", "options", multiple=True, metavar="KEY=VALUE", help="An option of the data set: dataset.path=...")
@click.option("--images", type=click.IntRange(1), default=1000, metavar="N", help="Training images.  [default: 1000]")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME",
    help="compiled, torch, reference or auto; may be repeated.  [default: compiled and torch]",
)
@click.option(
    "--samples",
    multiple=True,
    type=click.IntRange(1),
    metavar="N",
    help="Samples of a flow; may be repeated.  [default: 1 and 8]",
)
@click.option("--scales", metavar="SPEC", help="Scales of the flow.  [default: the paper's for this data set]")
@click.option("--labels", metavar="SPEC", help="Classes of the flow's samples.  [default: none]")
@click.option("--repeats", type=click.IntRange(1), default=3, metavar="N", help="Repetitions.  [default: 3]")
@click.option("--row", "rows", multiple=True, metavar="NAME", help="Only this row; may be repeated.")
@data_dir
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    options: tuple[str, ...],
    rows: tuple[str, ...],
    engines: tuple[str, ...],
    samples: tuple[int, ...],
    data_dir: Path | None,
    **common: Any,
) -> None:
    """Measure the engines: median time, peak memory and comparisons per second of each piece of work.

    Rows: flow (the reverse flow of ELS, data loaded), ls, is (one step), calibration (all scales on one x), scaling
    (cost by images, k and batch), soft (soft ELS beside ELS at the same scale, on at most 1,000 images), large (ELS on
    at most 100 images of 64 x 64 x 3, of the data set `shapes`), naive
    (ratio to a plain float32 implementation, on 200 images), training (images a second, and of a bare PyTorch loop);
    and, only if asked for, tasks (what tasks cost that compute nothing, on 1 and 2 Dask workers of one thread) and
    workers (two steps of ELS without a cluster, on 1 and on 2 such workers; 8 batches, then one cut into shards).
    "Of ceilings" is the time in which this machine's cores could make all comparisons at their best measured speed
    (float32 operations by convolution, powers of two), over the time taken; above 100% where an engine need not make
    them all.
    Each is measured in a process of its own, whose peak memory includes program and data. About six minutes on two
    cores; time is in proportion to --images.
    """
    from mosaic.bench.engines import ON_CLUSTERS, ROWS, cases, machine, measure, share_of_ceilings
    from mosaic.engine.compute import ENGINES
    from mosaic.registry.data import data_access
    from mosaic.registry.loading import registry

    for name, known in [(row, ROWS) for row in rows] + [(engine, ENGINES) for engine in engines]:
        if name not in known:
            raise UsageError(f"There is no '{name}' to measure; there are: {', '.join(known)}.")
    engines = engines or _engines()
    plugins = {"dataset": registry().get("dataset", common["dataset"]).Options}
    given = with_owners(plugin_options(options, tuple(plugins)), plugins)
    root = data_access(data_dir, False).root
    common |= {"dataset_options": given.get("dataset_options", {})}
    common["data_dir"] = None if root is None else str(root.resolve())
    used = machine()
    results = []
    for case in cases(rows or [row for row in ROWS if row not in ON_CLUSTERS], engines, samples or (1, 8), common):
        terminal.note(f"{case.row}, {case.engine}, {case.images} images, {case.samples} samples")
        result = measure(case)
        results.append({**result, "share_of_ceilings": share_of_ceilings(result, used)})
        terminal.note(f"  {results[-1]['median_seconds']:.3g} s")
    if as_json:
        print_json({"machine": used, "rows": results})
        return
    _print(used, results)


def _engines() -> tuple[str, ...]:
    from mosaic.engine.compiler import KernelUnavailable, load_kernel

    try:
        load_kernel()
    except KernelUnavailable:
        return ("torch",)
    return ("compiled", "torch")


def _print(used: dict[str, Any], results: list[dict[str, Any]]) -> None:
    for key, value in used.items():
        shown = ", ".join(value) if isinstance(value, list) else f"{value:.3g}" if isinstance(value, float) else value
        say(f"{key}: {shown}")
    say()
    header = (
        "work",
        "engine",
        "images",
        "samples",
        "seconds",
        "peak memory",
        "comparisons/s",
        "of ceilings",
        "remarks",
    )
    print_table(header, [_cells(result) for result in results])


def _cells(result: dict[str, Any]) -> list[str]:
    seconds, comparisons, peak, share = (
        result[name] for name in ("median_seconds", "comparisons", "peak_bytes", "share_of_ceilings")
    )
    return [
        _work(result),
        result["engine"],
        str(result["images"]),
        str(result["samples"]),
        f"{seconds:.3g}",
        "" if peak is None else f"{peak / 2**20:.0f} MiB",
        f"{comparisons / seconds:.2e}" if comparisons else "",
        "" if share is None else f"{share:.0%}",
        _remarks(result),
    ]


def _work(result: dict[str, Any]) -> str:
    return {
        "flow": f"ELS, {len(result['scales'] or ())} steps",
        "ls": f"LS, one step, k = {result['scale']}",
        "is": "IS, one step",
        "calibration": "ELS, all k from 3 to 17 on one x",
        "scaling": f"ELS, one step, k = {result['scale']}",
        "soft": f"soft ELS, one step, k = {result['scale']}",
        "large": f"ELS, one step, k = {result['scale']}, 64 x 64 x 3",
        "naive": f"ELS, one step, k = {result['scale']}",
        "training": "training of the ResNet, 64 channels, batches of 32",
        "tasks": f"500 tasks, {_workers(result)}",
        "workers": f"ELS, two steps, k = {result['scale']}, {_workers(result)}",
    }[result["row"]]


def _workers(result: dict[str, Any]) -> str:
    return {0: "no cluster", 1: "1 worker"}.get(result["workers"], f"{result['workers']} workers")


def _remarks(result: dict[str, Any]) -> str:
    if result["row"] == "tasks":
        task, call, speed = (result[name] for name in ("task_seconds", "call_seconds", "bytes_per_second"))
        return f"{1e3 * task:.2f} ms a task, {1e3 * call:.1f} ms from a call to its result, {speed / 1e6:.0f} MB/s"
    if result["row"] == "workers" and result["workers"]:
        moved = "" if result["bytes"] is None else f", {result['bytes'] / 1e6:.2f} MB sent"
        return f"a step: {result['tasks']:.3g} tasks{moved}; forecast {result['forecast']:.3g} s"
    if result["row"] in ("scaling", "large"):
        return f"{1e9 * result['median_seconds'] / result['comparisons']:.3f} ns a comparison"
    if result["row"] == "soft":
        return f"{result['ratio']:.2f} times ELS; windows of {result['extent']} x {result['extent']} pixels"
    if result["row"] == "naive":
        return f"{result['ratio']:.0f} times as fast as the naive implementation"
    if result["row"] == "calibration":
        return f"{result['ratio_to_slowest_k']:.2f} times the slowest single k"
    if result["row"] == "training":
        ours, bare = result["images_per_second"], result["bare_images_per_second"]
        return f"{ours:.0f} images/s, {result['ratio']:.3f} of a bare loop's {bare:.0f} ({result['precision']})"
    return f"{result['repeats']} runs" if result["repeats"] > 1 else ""
