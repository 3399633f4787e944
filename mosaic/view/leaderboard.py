"""The picture of a leaderboard: agreement with the network against cost, and along the network's flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.registry.loading import registry
from mosaic.storage.schema import NETWORK
from mosaic.view.colours import GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_leaderboard", "has_ceiling", "leaderboard_needs", "ranked", "ranking_metric", "ranking_of"]

COLOURS = (*PALETTE, GREY)  # black is the network's
MARKERS = "osD^vP"


def leaderboard_needs(board: xr.Dataset) -> tuple[str, ...]:
    """What is drawn of a leaderboard: costs, and the metric that decides the ranks."""
    has_finals = any(str(name).startswith("final_") for name in board.data_vars)
    metric = ranking_metric(board) if has_finals else "METRIC"
    final, step = f"final_{metric}", f"step_{metric}"
    ends = (f"{name}_{end}" for name in (final, step) for end in ("median", "low", "high"))
    return "score", "time", "seconds_per_step", final, *ends


def ranking_metric(board: xr.Dataset) -> str:
    """Name of the metric that decides the ranks: the first one of final images."""
    return next(str(name) for name in board.data_vars if str(name).startswith("final_")).removeprefix("final_")


def ranked(board: xr.Dataset) -> list[str]:
    """Names of the theories, the one whose final images agree best first; those without numbers last."""
    metric = ranking_metric(board)
    sign = -1 if registry().get("metric", metric).higher_is_better else 1
    theories = [name for name in board["score"].values.tolist() if name != NETWORK]
    medians = {name: float(board[f"final_{metric}_median"].sel(score=name)) for name in theories}
    return sorted(theories, key=lambda name: (np.isnan(medians[name]), sign * medians[name]))


def has_ceiling(board: xr.Dataset) -> bool:
    """Tell whether it is known how well another training of the network predicts it: the network's own entry."""
    medians = board[f"final_{ranking_metric(board)}_median"]
    return NETWORK in board["score"].values and not np.isnan(float(medians.sel(score=NETWORK)))


def ranking_of(board: xr.Dataset) -> xr.Dataset:
    """Give what a leaderboard says of each score, over samples and steps: the best theory first, the network last."""
    order = [name for name in (*ranked(board), NETWORK) if name in board["score"].values]
    variables = [name for name, variable in board.data_vars.items() if variable.dims == ("score",)]
    return board[variables].sel(score=order)


def _ends(entry: xr.Dataset, name: str) -> tuple[Any, Any, Any]:
    """Median and interval of a variable."""
    median, low, high = (entry[f"{name}_{end}"].values for end in ("median", "low", "high"))
    return median, low, high


def draw_leaderboard(board: xr.Dataset) -> Figure:
    """Draw final agreement against the time of a step, and agreement of x0hat along the network's flow.

    Of several trainings, how well one predicts another is a black line with its interval: no theory that does not know
    the training can be expected to do better.

    Parameters
    ----------
    board : xarray.Dataset
        As `mosaic.leaderboard` gives it.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    from mosaic.view.figure import Picture, fitted

    metric = ranking_metric(board)
    medians = board[f"final_{metric}_median"]
    names = [name for name in ranked(board) if not np.isnan(float(medians.sel(score=name)))]
    samples = board.sizes["sample"]
    trainings = board.sizes.get("training", 1)
    over = f"{trainings} trainings and " * (trainings > 1) + f"{samples} sample{'s' * (samples > 1)}"
    title = f"{board.attrs.get('title', '')}: medians over {over}"
    figure = Picture(10.5, 4.6, title, 10)
    left, right = figure.subplots(1, 2)
    handles: list[Any] = []
    for number, name in enumerate(names):
        entry = board.sel(score=name)
        look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
        median, low, high = _ends(entry, f"final_{metric}")
        left.errorbar(entry["seconds_per_step"], median, [[median - low], [high - median]], lw=0.8, **look)
        style = "-" if number < len(COLOURS) else "--"  # dashed lines for the second use of the colours
        values, low, high = _ends(entry, f"step_{metric}")
        handles += right.plot(entry["time"], values, lw=1.2, ls=style, label=fitted(name, 2, 8), **look)
        right.fill_between(entry["time"], low, high, color=look["color"], alpha=0.1, lw=0)
    if has_ceiling(board):
        entry = board.sel(score=NETWORK)
        median, low, high = _ends(entry, f"final_{metric}")
        left.axhspan(low, high, color="black", alpha=0.12, lw=0)
        left.axhline(median, color="black", lw=1)
        values, low, high = _ends(entry, f"step_{metric}")
        right.fill_between(entry["time"], low, high, color="black", alpha=0.12, lw=0)
        handles.insert(0, *right.plot(entry["time"], values, color="black", lw=1, label="another training"))
    if NETWORK in board["score"].values:
        own = float(board["seconds_per_step"].sel(score=NETWORK))
        handles.append(left.axvline(own, color="black", lw=0.8, ls=":", label="the network's time"))
    final, along = (
        fitted(f"{metric} of {what}", 3.4, 10, 2) for what in ("final images", "x0hat at the network's states")
    )
    left.set(xscale="log", xlabel="time of a step, a sample [s]", ylabel=final)
    seconds = board["seconds_per_step"].values
    span = np.nanmax(seconds) / np.nanmin(seconds)
    decades = LogLocator(subs=(1,) if span > 100 else (1, 2, 5), numticks=8)
    left.xaxis.set_major_locator(MaxNLocator(4) if span < 5 else decades)
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    left.xaxis.set_minor_formatter(NullFormatter())
    right.set(xlabel="time t (1: noise)", ylabel=along)
    left.set_title("agreement against cost, 95 % intervals", fontsize=10)
    right.set_title("along the network's own flow, 95 % intervals", fontsize=10)
    figure.legend(handles=handles, loc="outside right center", fontsize=8)
    return figure
