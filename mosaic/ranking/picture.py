"""The picture of a leaderboard: accuracy against cost, and along the network's flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.ranking.entrant import NETWORK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_leaderboard", "ranked"]

# Okabe & Ito's colours, without black, which is the network's.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = "osD^vP"


def ranked(found: xr.Dataset) -> list[str]:
    """Names of the theories, the one whose final images agree best first; those without numbers last."""
    theories = [name for name in found["score"].values.tolist() if name != NETWORK]
    medians = {name: float(found["final_pearson_r_median"].sel(score=name)) for name in theories}
    return sorted(theories, key=lambda name: (np.isnan(medians[name]), -medians[name]))


def draw_leaderboard(found: xr.Dataset) -> Figure:
    """Draw final agreement against the time of a step, and agreement of x0hat along the network's flow.

    Parameters
    ----------
    found : xarray.Dataset
        As `mosaic.leaderboard` gives it.
    """
    from matplotlib.figure import Figure

    names = [name for name in ranked(found) if not np.isnan(float(found["final_pearson_r_median"].sel(score=name)))]
    figure = Figure(figsize=(10.5, 4.8), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    keys = []
    for number, name in enumerate(names):
        one = found.sel(score=name)
        look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
        median, low, high = (float(one[f"final_pearson_r_{end}"]) for end in ("median", "low", "high"))
        left.errorbar(float(one["seconds_per_step"]), median, [[median - low], [high - median]], lw=0.8, **look)
        style = "-" if number < len(COLOURS) else "--"  # colours come twice
        keys += right.plot(one["time"], one["step_pearson_r_median"], lw=1.2, ls=style, label=name, **look)
    if NETWORK in found["score"].values:
        seconds = float(found["seconds_per_step"].sel(score=NETWORK))
        keys.append(left.axvline(seconds, color="black", lw=0.8, ls=":", label="the network's time"))
    left.set(xscale="log", xlabel="time of a step, a sample [s]", ylabel="pearson_r of final images")
    right.set(xlabel="time t (1: noise)", ylabel="pearson_r of x0hat at the network's states")
    left.set_title("accuracy against cost, 95 % intervals", fontsize=10)
    right.set_title("along the network's own flow", fontsize=10)
    figure.legend(handles=keys, loc="outside right center", fontsize=8)
    title = f"{found.attrs.get('title', '')}: medians over {found.sizes['sample']} samples"
    figure.suptitle(title, fontsize=10)
    return figure
