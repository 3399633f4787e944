"""The picture of a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_scales"]


def draw_scales(calibration: xr.Dataset) -> Figure:
    """Draw which scales agree best at each noise level: the share of samples, the median and the quartiles.

    Parameters
    ----------
    calibration : xarray.Dataset
        What `mosaic calibrate` stored.
    """
    from matplotlib.figure import Figure

    ordered = calibration.sortby("time")
    sizes, times = ordered["k"].values, ordered["time"].values
    shares = (ordered["best"].values[:, :, None] == sizes).mean(0).T
    figure = Figure(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    axis = figure.subplots()
    mesh = axis.pcolormesh(np.arange(len(times)), np.arange(len(sizes)), shares, cmap="Blues", vmin=0, vmax=1)
    place = dict(zip(sizes.tolist(), range(len(sizes)), strict=True))
    steps = np.arange(len(times))
    low, high = (np.interp(ordered[name].values, sizes, np.arange(len(sizes))) for name in ("scale_q25", "scale_q75"))
    axis.vlines(steps, low, high, color="black", linewidth=1, label="quartiles")
    axis.plot(steps, [place[k] for k in ordered["scale"].values.tolist()], "o", color="#d55e00", label="median")
    axis.set_yticks(np.arange(len(sizes)), [str(size) for size in sizes])
    shown = steps[:: max(1, len(steps) // 10)]
    axis.set_xticks(shown, [f"{times[step]:.2f}" for step in shown])
    axis.set_xlabel("time t (noise rises to the right)")
    axis.set_ylabel("scale k (pixels)")
    axis.legend(fontsize=7, loc="upper left")
    figure.colorbar(mesh, ax=axis, label="share of samples that k agrees best with")
    figure.suptitle(calibration.attrs.get("title", ""), fontsize=9)
    return figure
