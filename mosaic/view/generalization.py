"""The picture of a generalization gap: losses of training and held-out images over time, and the gap below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mosaic.view.colours import GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LOSSES_NEED", "draw_losses"]

LOSSES_NEED = (
    *("score", "set", "time", "loss_mean", "loss_low", "loss_high"),
    *("reference", "reference_loss_mean", "gap", "gap_low", "gap_high"),
)
STYLES = {"training": "-", "held_out": "--", "left_out": ":"}
WORDS = {"training": "training images", "held_out": "held-out images", "left_out": "left out of training"}
REFERENCE_STYLES = ("-.", (0, (1, 1)))
MARKERS = "osD^vP"
FLOOR = 1e-4  # of the largest loss, below which axes show nothing: IS at its own images is at rounding errors


def draw_losses(result: xr.Dataset) -> Figure:
    """Draw mean losses over time on a log scale, a colour for each score and a style for each set; below it the gaps.

    Intervals of the held-out means and of the gaps are shaded. Losses that need no score are grey, of held-out images.

    Parameters
    ----------
    result : xarray.Dataset
        As `mosaic.generalization` gives it.
    """
    from matplotlib.lines import Line2D

    from mosaic.view.figure import Picture, fitted

    result = result.sortby("time")
    times, samples = result["time"].values, result.sizes["sample"]
    title = f"{result.attrs.get('title', '')}: means of {samples} image{'s' * (samples > 1)} of each set"
    figure = Picture(8, 6.4, title, 10)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    handles: list[Any] = []
    for number, name in enumerate(result["score"].values.tolist()):
        own, colour = result.isel(score=number), (*PALETTE, GREY)[number % (len(PALETTE) + 1)]
        look: dict[str, Any] = {"color": colour, "marker": MARKERS[number % len(MARKERS)], "markersize": 3.5, "lw": 1.2}
        for kind in own["set"].values.tolist():
            values = own["loss_mean"].sel(set=kind)
            if values.notnull().any():
                above.plot(times, values, ls=STYLES[kind], mfc="none" if kind == "left_out" else None, **look)
        held = own.sel(set="held_out")
        above.fill_between(times, held["loss_low"], held["loss_high"], color=colour, alpha=0.15, lw=0)
        handles += below.plot(times, own["gap"], label=fitted(name, 1.6, 8), **look)
        below.fill_between(times, own["gap_low"], own["gap_high"], color=colour, alpha=0.15, lw=0)
    for style, name in zip(REFERENCE_STYLES, result["reference"].values.tolist(), strict=False):
        values = result["reference_loss_mean"].sel(reference=name, set="held_out")
        handles += above.plot(times, values, color="0.6", ls=style, lw=1, label=fitted(name, 1.6, 8))
    kinds = [kind for kind in result["set"].values.tolist() if kind in STYLES]
    handles += [Line2D([], [], color="black", ls=STYLES[kind], lw=1.2, label=WORDS[kind]) for kind in kinds]
    losses = result["loss_mean"].values
    most, least = np.nanmax(losses), max(np.nanmin(losses), FLOOR * np.nanmax(losses))
    above.set(yscale="log", ylim=(least / 1.6, 3 * most), ylabel="mean squared error of x0hat")
    below.axhline(0, color="black", lw=0.6)
    below.set(xlabel="time t (1: noise)", ylabel="gap: held-out - training")
    for axis in (above, below):
        axis.tick_params(labelsize=8)
    figure.legend(handles=handles, loc="outside right center", fontsize=8)
    return figure
