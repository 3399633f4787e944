"""Pictures of locality scales: of a calibration, and of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.errors import DataError
from mosaic.storage.requirements import known_values, require, title_of
from mosaic.view.colours import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RUN_SCALES_NEED", "SCALES_NEED", "draw_run_scales", "draw_scales"]

RUN_SCALES_NEED = ("scale", "time")
MOST_NAMED = 20  # scales along an axis
SCALES_NEED = ("best", "scale", "scale_q25", "scale_q75", "k", "time")


def draw_scales(calibration: xr.Dataset) -> Figure:
    """Draw which scales agree best at each noise level: the share of samples, the median and the quartiles.

    A best scale that lies between two that were tried counts for the nearer one.

    Parameters
    ----------
    calibration : xarray.Dataset
        What `mosaic calibrate` stored.
    """
    from mosaic.view.figure import Picture

    ordered = calibration.sortby("time")
    sizes, times = ordered["k"].values, ordered["time"].values

    def place(name: str) -> NDArray[np.float64]:
        return np.asarray(np.interp(ordered[name].values, sizes, np.arange(len(sizes))))

    shares = (place("best").round()[:, :, None] == np.arange(len(sizes))).mean(0).T
    figure = Picture(6.4, 3.6, str(calibration.attrs.get("title", "")))
    axis = figure.subplots()
    edges = (np.arange(count + 1) - 0.5 for count in (len(times), len(sizes)))  # also of a single step or scale
    mesh = axis.pcolormesh(*edges, shares, cmap="Blues", vmin=0, vmax=1)
    steps = np.arange(len(times))
    axis.vlines(steps, place("scale_q25"), place("scale_q75"), color="black", linewidth=1, label="quartiles")
    axis.plot(steps, place("scale"), "o", color=ORANGE, label="median")
    named = np.arange(len(sizes))[:: -(-len(sizes) // MOST_NAMED)]
    axis.set_yticks(named, [f"{sizes[number]:.3g}" for number in named])
    shown = steps[:: max(1, len(steps) // 10)]
    axis.set_xticks(shown, [f"{times[step]:.2f}" for step in shown])
    axis.set_xlabel("time t (noise rises to the right)")
    axis.set_ylabel("scale k (pixels)")
    axis.legend(fontsize=7, loc="upper left")
    figure.colorbar(mesh, ax=axis, label="share of samples that k agrees best with")
    return figure


def draw_run_scales(run: xr.Dataset) -> Figure:
    """Draw the scale of each step against time.

    Raises
    ------
    DataError
        If the run's score model has no scale.
    """
    from mosaic.view.figure import Picture, count_along

    run = require(run, RUN_SCALES_NEED)
    scales, times = known_values(run, "scale").values, known_values(run, "time").values
    if not scales.any():
        raise DataError("The run's score model has no locality scale, so there are none to draw.")
    figure = Picture(6.4, 3.0, f"{title_of(run)}: locality scales")
    axis = figure.subplots()
    axis.plot(times, scales, "o-", color=BLUE, markersize=4)
    axis.set_xlabel("time t (noise rises to the right)")
    axis.set_ylabel("scale k (pixels)")
    axis.set_ylim(bottom=0)
    count_along(axis.yaxis)
    return figure
