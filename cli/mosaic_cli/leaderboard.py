"""`mosaic leaderboard`: which theory predicts a trained network best, and at what cost."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.errors import ExitCode, UsageError
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.progress import progress_bar
from mosaic_cli.data_options import PATH, data_dir, memory, scheduler
from mosaic_cli.durations import duration
from mosaic_cli.settings import layers_of, settings
from mosaic_cli.terminal import Terminal, in_flags, print_json, print_table, say, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.evaluate.leaderboard.board import Board, Plans

__all__ = ["command"]


@click.command("leaderboard")
@settings(LeaderboardConfig, without=("tune",))
@click.option(
    "--tune",
    multiple=True,
    metavar="SCORE.OPTION=V1,V2",
    help=in_flags(LeaderboardConfig.model_fields["tune"].description or "", ()),
)
@data_dir
@memory
@scheduler
@click.option(
    "--out",
    type=PATH,
    default=Path("leaderboard"),
    help="Folder of all files; what is there is used, and resumed.  [default: leaderboard]",
)
@click.option("--dry-run", is_flag=True, help="Say who takes part and how long the machines will take, and stop.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    options: tuple[str, ...],
    config: Path | None,
    data_dir: Path | None,
    memory: str | None,
    scheduler: str | None,
    out: Path,
    dry_run: bool,
    tune: tuple[str, ...],
    **flags: str | tuple[str, ...] | None,
) -> None:
    """Rank theories by how well they predict a trained network, and by what they cost.

    Every score model starts from the network's noise, and its final images are compared with the network's. It is
    evaluated at states of the network's own reverse flow, and the network at states of the theory's; x0hat of both is
    compared. Each works in a process of its own, where its time a step and its peak memory are measured. Prints a
    table, the best first; writes leaderboard.nc, leaderboard.png and every run into --out. The same command resumes
    after an interruption. --checkpoint may be given several times, for several trainings of one network: then
    intervals are over both trainings and samples, and the table says how well another training predicts one. Options
    of score models go by their names: -o smoothed.sigma=0.5; those of the data set: -o dataset.path=...; those of
    DDIM: -o sampler.grid=leading. --protocol lukoianov2025 has the settings of those authors' tables.
    """
    checked = _configured({**flags, "tune": tune or None}, options, config)

    from mosaic.evaluate.leaderboard.prepare import prepare_leaderboard
    from mosaic.registry.data import data_access
    from mosaic.run.cluster import connected

    board = prepare_leaderboard(checked, out.expanduser(), data_access(data_dir), memory)
    plans = board.plan_unfinished()
    for note in board.notes(plans):
        terminal.note(f"Note: {note}")
    if dry_run:
        seconds = _forecast(board, plans, terminal)
        if as_json:
            print_json({"seconds": seconds, "left_out": dict(board.left_out)})
        return
    with connected(scheduler):
        table = _execute(board, plans, terminal)
    if as_json:
        picture = board.file.with_suffix(".png")
        print_json({"path": str(board.file), "picture": str(picture), "scores": _document(table)})
    else:
        _print(table)
        if checked.protocol != "none":
            terminal.note(_means(table))
        say(str(board.file))


def _configured(
    flags: Mapping[str, str | tuple[str, ...] | None], options: tuple[str, ...], config: Path | None
) -> LeaderboardConfig:
    """Validate the settings; options of score models go by their names."""
    from mosaic.interfaces.data_source import DataSetOptions
    from mosaic.registry.loading import registry
    from mosaic.run.config import RunConfig
    from mosaic.run.configuration import as_text
    from mosaic.run.settings import layered, with_owners

    scores = registry().names("score")
    layers = layers_of(LeaderboardConfig, flags, options, config, sections=("dataset", "sampler", *scores))
    given = {key: layer[key] for layer in layers for key in layer}
    asked, dataset = as_text(LeaderboardConfig, "scores", given.get("scores", "all")), given.get("dataset")
    names = scores if asked == "all" else [name.strip() for name in asked.split(",")]
    data = {
        "dataset": DataSetOptions if dataset is None else registry().get("dataset", dataset).Options,
        "sampler": registry().get("sampler", RunConfig.model_fields["sampler"].default).Options,
    }
    theories = {name: registry().get("score", name).Options for name in names}
    environment, *others = layers  # whose options of score models are meant for commands that run one
    layers = [with_owners(environment, data), *(with_owners(layer, {**theories, **data}) for layer in others)]
    return layered(LeaderboardConfig, *_nested(layers, scores))


def _nested(layers: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> list[dict[str, Any]]:
    """Sort options that layers give for score models, `smoothed_options`, into one last layer's `score_options`.

    Options of `score`, in the environment, are meant for commands that run one.
    """
    sections = {f"{name}_options": name for name in scores}
    given: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for key in layer.keys() & sections.keys():
            given[sections[key]] = {**given.get(sections[key], {}), **layer[key]}
    own = [
        {key: value for key, value in layer.items() if key not in sections and key != "score_options"}
        for layer in layers
    ]
    for key in {key for layer in own for key in layer} - LeaderboardConfig.model_fields.keys():
        raise UsageError(f"The table [{key}] of a leaderboard's configuration holds options, and no name.")
    return [*own, {"score_options": given}]


def _forecast(board: Board, plans: Plans, terminal: Terminal) -> dict[str, float | None]:
    """Say how long each machine will take."""
    with progress_bar(not terminal.quiet) as bar:
        seconds = board.forecast(plans, bar)
    for name, value in seconds.items():
        terminal.note(
            f"{name}: {'not predicted' if value is None else f'about {duration(value)}' if value else 'done'}"
        )
    total = sum(value or 0.0 for value in seconds.values())
    done = all(value == 0.0 for value in seconds.values())
    terminal.note("All are done." if done else f"The machines together: about {duration(total)}.")
    return seconds


def _execute(board: Board, plans: Plans, terminal: Terminal) -> xr.Dataset:
    from mosaic.evaluate.leaderboard.start import start

    begin = time.perf_counter()
    try:
        with progress_bar(not terminal.quiet) as bar:
            table = start(board, plans, bar)
    except KeyboardInterrupt:
        terminal.fail("interrupted; what is done is kept. The same command resumes.", ExitCode.INTERRUPTED)
    for note in _findings(table):
        terminal.note(note)
    terminal.note(f"Took {duration(time.perf_counter() - begin)}.")
    return table


def _findings(table: xr.Dataset) -> list[str]:
    """Say what a reader of the table should know: what failed, what was chosen, and by what BEHIND is measured."""
    notes = [f"{name} failed: {message}" for name, message in json.loads(table.attrs["failed"]).items()]
    if "chosen" in table and (chosen := table["candidate"].values[table["chosen"].values].tolist()):
        notes.append(f"Chosen on other noise: {', '.join(chosen)}.")
    best = json.loads(table.attrs["best"])
    if best["even"] != best["odd"] and None not in best.values():
        notes.append(
            f"{best['even']} is best on the even samples, {best['odd']} on the odd ones. BEHIND is measured from the "
            f"best of the other half, so each of the two is its own reference on one half, and has 0 there: "
            f"{best['even']} on the odd samples, {best['odd']} on the even ones."
        )
    return notes


def _print(table: xr.Dataset) -> None:
    """Print a row for each score model, the best first, the network last: how another training predicts it, if known.

    Along flows x0hat agrees by the first metric; the last one is that of final images.
    """
    from mosaic.storage.schema import NETWORK
    from mosaic.view.leaderboard import has_ceiling, ranked, ranking_metric

    failed, first = json.loads(table.attrs["failed"]), ranking_metric(table)
    reference = set(json.loads(table.attrs["best"]).values())
    others = [name for name in json.loads(table.attrs["metrics"])[-1:] if name != first]
    ceiling = has_ceiling(table)
    partial = ["ADDS"] if "partial_pearson_r_median" in table else []
    final = f"FINAL {first} [95 %]"
    header = ("SCORE", final, "BEHIND [95 %]", *others, "ALONG", "OWN", *partial, "s/step", "MiB", "TUNED")
    rows: list[tuple[str, ...]] = []
    for name in [*ranked(table), NETWORK]:
        entry = table.sel(score=name)
        if name in failed:
            rows.append((name, "failed", *[""] * (len(header) - 2)))
            continue
        agreement = [
            _interval(entry, f"final_{first}"),
            "reference" if reference == {name} else _interval(entry, "behind"),
            *(_median(entry, f"final_{other}") for other in others),
            _median(entry, f"along_{first}"),
            _median(entry, f"own_{first}"),
            *(_median(entry, "partial_pearson_r") for _ in partial),
        ]
        seconds, peak = float(entry["seconds_per_step"]), float(entry["peak_bytes"]) / 2**20
        is_network = name == NETWORK
        cells = [""] * len(agreement) if is_network and not ceiling else agreement
        title = "another training" if is_network and ceiling else name
        rows.append((title, *cells, f"{seconds:.2g}", f"{peak:.0f}", str(entry["tuned"].item())))
    print_table(header, rows)


def _means(table: xr.Dataset) -> str:
    """Give the means over samples, which the tables of a protocol have in place of medians."""
    from mosaic.view.leaderboard import ranked, ranking_metric

    first = ranking_metric(table)
    means = table[f"final_{first}"].mean(["training", "sample"])
    texts = [f"{name} {float(means.sel(score=name)):.3f}" for name in ranked(table)]
    return f"Means of FINAL {first} over samples: {', '.join(texts)}."


def _interval(entry: xr.Dataset, name: str) -> str:
    """Median and interval; empty where no theory has numbers."""
    if f"{name}_median" not in entry:
        return ""
    median, low, high = (float(entry[f"{name}_{end}"]) for end in ("median", "low", "high"))
    return f"{median:.3f} [{low:.3f}, {high:.3f}]"


def _median(entry: xr.Dataset, name: str) -> str:
    """Median; empty where it is not known."""
    median = float(entry[f"{name}_median"])
    return "" if math.isnan(median) else f"{median:.3f}"


def _document(table: xr.Dataset) -> dict[str, dict[str, float | str | None]]:
    """Medians, intervals, costs and how parameters were chosen, by score."""
    kept = [name for name, variable in table.data_vars.items() if variable.dims == ("score",)]
    return {
        score: {str(name): _plain(table[name][n].item()) for name in kept}
        for n, score in enumerate(table["score"].values.tolist())
    }


def _plain(value: float | str) -> float | str | None:
    return None if isinstance(value, float) and math.isnan(value) else value
