"""`mosaic leaderboard`: which theory predicts a trained network best, and at what cost."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosaic.config import plugin_options
from mosaic.errors import ExitCode, UsageError
from mosaic_cli.data_options import data_dir, memory
from mosaic_cli.progress import ProgressBar, duration
from mosaic_cli.terminal import Terminal, print_json, print_table, standard

if TYPE_CHECKING:
    import xarray as xr

    from mosaic.ranking.board import Board

__all__ = ["command"]


@click.command("leaderboard")
@click.option("--checkpoint", metavar="DIR", required=True, help="Folder of a trained network, by `mosaic train`.")
@click.option(
    "--scores", metavar="LIST", help="Score models, such as els,is,gaussian.  [default: all that need no options]"
)
@click.option("--samples", metavar="N", help="Samples that all make from the same noise.  [default: 16]")
@click.option("--steps", metavar="N", help="Steps of the theories' reverse flows.  [default: 20]")
@click.option("--network-steps", metavar="N", help="Steps of the network's.  [default: 150]")
@click.option("--seed", metavar="N", help="Seed of the noise.  [default: 0]")
@click.option(
    "--scales",
    metavar="SPEC",
    help="Locality scales, best the file of `mosaic calibrate`.  [default: as for mosaic run]",
)
@click.option("--labels", metavar="SPEC", help="Classes.  [default: random if the network has any]")
@click.option("--device", metavar="DEVICE", help="Torch device.  [default: auto]")
@click.option(
    "-o",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of a score model or of the data set, e.g. smoothed.sigma=0.5, dataset.path=...",
)
@data_dir
@memory
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("leaderboard"),
    help="Folder of everything that is made; what is there is gone on with.  [default: leaderboard]",
)
@click.option("--dry-run", is_flag=True, help="Say who takes part and how long the machines will take, and stop.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    options: tuple[str, ...],
    data_dir: Path | None,
    memory: str | None,
    out: Path,
    dry_run: bool,
    **flags: str | None,
) -> None:
    """Rank theories by how well they predict a trained network, and by what they cost.

    Every score model starts from the network's noise, and its final images are compared with the network's; and it is
    evaluated at states of the network's own reverse flow, its x0hat compared with the network's there. Each works
    in a process of its own, where its time a step and its peak memory are measured. Prints a table, the best first;
    writes leaderboard.nc, leaderboard.png and every run into --out. The same command goes on after an interruption.
    """
    from mosaic.ranking.board import prepare_leaderboard
    from mosaic.runner import data_access
    from mosaic.store import BegunOtherwise

    access = data_access(data_dir, False)
    given = {name: value for name, value in flags.items() if value is not None}
    board = prepare_leaderboard([{**given, **_options(options)}], out.expanduser(), access, memory)
    if dropped := board.dropped():
        terminal.note(f"Note: leaderboard.nc in '{board.folder}' will no longer rank {', '.join(dropped)}.")
    for name, reason in board.left_out.items():
        terminal.note(f"Left out: {name}: {reason}.")
    try:
        seconds = _forecast(board, access, terminal)
        found = None if dry_run else _execute(board, terminal)
    except BegunOtherwise as error:
        raise UsageError(
            f"'{error.place}' was made with other settings ({'; '.join(error.differing)}); give those, or use another "
            f"--out."
        ) from None
    if found is None:
        if as_json:
            print_json({"seconds": seconds, "left_out": dict(board.left_out)})
        return
    files = {"path": str(board.folder / "leaderboard.nc"), "picture": str(board.folder / "leaderboard.png")}
    if as_json:
        print_json({**files, "scores": _document(found)})
    else:
        _print(found)
        click.echo(files["path"])


def _options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Options of the data set, and of score models by their names."""
    from mosaic.plugins import registry

    given = plugin_options(pairs, ["dataset", *registry().names("score")])
    named = {key.removesuffix("_options"): values for key, values in given.items()}
    return {"dataset_options": named.pop("dataset", {}), "score_options": named}


def _forecast(board: Board, access: Any, terminal: Terminal) -> dict[str, float | None]:
    """Say how long each machine will take."""
    with ProgressBar(1.0, terminal) as bar:
        bar.show(0.0, "measuring how long it will take")
        seconds = board.forecast(access)
    for name, value in seconds.items():
        terminal.note(
            f"{name}: {'not predicted' if value is None else f'about {duration(value)}' if value else 'done'}"
        )
    if older := board.of_other_code():
        terminal.note(f"Note: {', '.join(older)}: what other code of mosaic made is used as it is.")
    total = sum(value or 0.0 for value in seconds.values())
    done = all(value == 0.0 for value in seconds.values())
    terminal.note("All are done." if done else f"The machines together: about {duration(total)}.")
    return seconds


def _execute(board: Board, terminal: Terminal) -> xr.Dataset:
    from mosaic.ranking.board import execute_leaderboard

    begin, names = time.perf_counter(), list(board.jobs)
    try:
        with ProgressBar(float(len(names)), terminal) as bar:
            found = execute_leaderboard(
                board,
                lambda score, share: bar.show(names.index(score) + share if score in names else len(names), score),
            )
    except KeyboardInterrupt:
        terminal.fail("interrupted; what is done is kept. Go on with the same command.", ExitCode.INTERRUPTED)
    for name, words in json.loads(found.attrs["failed"]).items():
        terminal.note(f"{name} failed: {words}")
    terminal.note(f"Took {duration(time.perf_counter() - begin)}.")
    return found


def _print(found: xr.Dataset) -> None:
    """Print a row for each score model, the best first, the network last."""
    from mosaic.ranking.entrant import NETWORK
    from mosaic.ranking.picture import ranked

    failed = json.loads(found.attrs["failed"])
    header = ("SCORE", "FINAL r [95 %]", "BEHIND [95 %]", "mse", "ALONG r [95 %]", "mse", "s/step", "MiB")
    rows: list[tuple[str, ...]] = []
    for name in [*ranked(found), NETWORK]:
        one = found.sel(score=name)
        if name in failed:
            rows.append((name, "failed", *[""] * 6))
            continue
        columns = ("final_pearson_r", "behind", "final_mse", "along_pearson_r", "along_mse")
        agreement = [""] * 5 if name == NETWORK else [_cell(one, column) for column in columns]
        seconds, peak = float(one["seconds_per_step"]), float(one["peak_bytes"]) / 2**20
        rows.append((name, *agreement, f"{seconds:.2g}", f"{peak:.0f}"))
    print_table(header, rows)


def _cell(one: xr.Dataset, name: str) -> str:
    median, low, high = (float(one[f"{name}_{end}"]) for end in ("median", "low", "high"))
    return f"{median:.3f}" if name.endswith("_mse") else f"{median:.3f} [{low:.3f}, {high:.3f}]"


def _document(found: xr.Dataset) -> dict[str, dict[str, float | None]]:
    """Medians, intervals and costs, by score."""
    kept = [name for name, variable in found.data_vars.items() if variable.dims == ("score",)]
    scores = found["score"].values.tolist()
    return {
        score: {str(name): (None if math.isnan(value) else value) for name in kept for value in [float(found[name][n])]}
        for n, score in enumerate(scores)
    }
