"""Pictures of a probe: its numbers over time, receptive fields, and eigenvectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.errors import UsageError
from mosaic.storage.indexes import evenly_spread
from mosaic.view.colours import GREY, PALETTE
from mosaic.view.images import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CURVES_NEED", "FIELDS_NEED", "MODES_NEED", "draw_curves", "draw_fields", "draw_modes"]

CURVES = {
    "curl": "curl |J - J$^T$| / 2|J|",
    "effective_rank": "effective rank",
    "field_width": "receptive field [pixel]",
    "equivariance_error": "equivariance error",
    "equivariance_error_interior": "equivariance error, interior",
    "similarity": "similarity of J with that of {first}",
}
CURVES_NEED = ("score", "time", "curl", "effective_rank", "field_width", "equivariance_error")
FIELDS_NEED = ("score", "time", "field", "field_width")
MODES_NEED = ("score", "time", "sample", "state", "eigenvalue", "eigenvector")
MARKERS = "osD^vP"
FAINTEST = 1e-3  # of the largest value of a field
LEAST = 0.05  # that axes show, so that rounding errors are on the floor
MOMENTS = 3  # times at which eigenvectors are drawn


def draw_curves(probe: xr.Dataset) -> Figure:
    """Draw what is measured of each score over time: medians over samples, and each sample as a dot.

    Parameters
    ----------
    probe : xarray.Dataset
        As `mosaic.probe` gives it.
    """
    from mosaic.view.figure import Picture, fitted

    probe, names = probe.sortby("time"), probe["score"].values.tolist()
    kept = [name for name in CURVES if name in probe and probe[name].notnull().any()]
    rows = (len(kept) + 2) // 3
    samples = probe.sizes["sample"]
    title = f"{probe.attrs.get('title', '')}: medians of {samples} sample{'s' * (samples > 1)}"
    figure = Picture(10.5, 2.6 * rows + 0.4, title, 10)
    axes = figure.subplots(rows, 3, squeeze=False)
    handles: dict[str, Any] = {}
    for axis, measure in zip(axes.flat, kept, strict=False):
        for number, name in enumerate(names):
            values = probe[measure].isel(score=number)
            colours = (*PALETTE, GREY)
            look: dict[str, Any] = {"color": colours[number % len(colours)], "marker": MARKERS[number % len(MARKERS)]}
            style = "-" if number < len(colours) else "--"
            medians = values.median("sample")
            label = fitted(name, 2, 8)
            (handles[name],) = axis.plot(probe["time"], medians, lw=1.2, ls=style, markersize=4, label=label, **look)
            axis.plot(probe["time"], values.transpose("time", "sample"), lw=0, markersize=2, alpha=0.4, **look)
        axis.set_title(fitted(CURVES[measure].format(first=names[0]), 3.1, 9).replace(r"\$", "$"), fontsize=9)
        axis.set_xlabel("time t (1: noise)", fontsize=8)
        axis.tick_params(labelsize=7)
        low, high = float(probe[measure].min()), float(probe[measure].max())
        axis.set_ylim(min(0.0, 1.05 * low), max(LEAST, 1.05 * high))
    for axis in axes.flat[len(kept) :]:
        axis.set_axis_off()
    figure.legend(handles=list(handles.values()), loc="outside right center", fontsize=8)
    return figure


def draw_fields(probe: xr.Dataset, columns: int = 10) -> Figure:
    """Draw receptive fields, a row for each score and a column for each time: the mean over samples, on a log scale.

    Parameters
    ----------
    probe : xarray.Dataset
        As `mosaic.probe` gives it.
    columns : int
        Times shown, evenly spaced, first and last included.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    from mosaic.view.figure import MARGIN, fitted, grid, name_rows

    shown = probe.isel(time=evenly_spread(probe.sizes["time"], columns))
    names, times = probe["score"].values.tolist(), shown["time"].values.tolist()
    title = f"{probe.attrs.get('title', '')}: mean |d score(centre) / d x|, of the largest value"
    above = [16.0] + [8.0] * (len(names) - 1)
    shape = shown["field"].shape[-2:]
    figure, axes = grid(len(names), len(times), shape, title, above=above, left=1.0, right=0.8)
    norm = LogNorm(FAINTEST, 1)
    for row in range(len(names)):
        for column, t in enumerate(times):
            point = shown.isel(score=row, time=column)
            field = point["field"].mean("sample").values
            axis = axes[row, column]
            axis.imshow(np.maximum(field / field.max(), FAINTEST), cmap="magma", norm=norm, interpolation="nearest")
            side = float(point["field_width"].median())
            width = "" if np.isnan(side) else f"{side:g} px"
            axis.set_title(f"t = {t:.2f}\n{width}" if row == 0 else width, fontsize=7, pad=2)
    name_rows(axes, [fitted(name, 0.9, 8, 3) for name in names], 8)
    last = axes[-1, -1].get_position()
    whole = float(figure.get_size_inches()[0])
    bar = figure.add_axes((last.x1 + MARGIN / whole, last.y0, 0.12 / whole, last.height))
    figure.colorbar(ScalarMappable(norm, "magma"), cax=bar).ax.tick_params(labelsize=6)
    return figure


def draw_modes(probe: xr.Dataset, samples: Sequence[int], columns: int = 10) -> Figure:
    """Draw leading eigenvectors beside the noisy image that they belong to, each below its eigenvalue.

    Of several times, the first, the middle one and the last are drawn; `probe.sel(time=[...])` chooses others.

    Parameters
    ----------
    probe : xarray.Dataset
        As `mosaic.probe` gives it, with `modes`.
    samples : sequence of int
        Positions along `sample`.
    columns : int
        Eigenvectors shown, the first ones.

    Raises
    ------
    UsageError
        If a sample is not in the probe.
    """
    from mosaic.view.figure import fitted, grid, name_rows

    count = probe.sizes["sample"]
    if beyond := [n for n in samples if not 0 <= n < count]:
        raise UsageError(f"`samples` {beyond} are not in this probe, which has {count}: 0 to {count - 1}.")
    probe = probe.isel(time=evenly_spread(probe.sizes["time"], MOMENTS))
    names, times = probe["score"].values.tolist(), probe["time"].values.tolist()
    shown = min(columns, probe.sizes["mode"])
    places = [(n, column, row) for n in samples for column in range(len(times)) for row in range(len(names))]
    title = (
        f"{probe.attrs.get('title', '')}: x, and leading eigenvectors of the symmetric Jacobian by their eigenvalues"
    )
    figure, axes = grid(len(places), 1 + shown, probe["state"].shape[-2:], title, above=8, left=1.3)
    for own, (n, column, row) in zip(axes, places, strict=True):
        point = probe.isel(sample=n, time=column)
        draw_image(own[0], point["state"], probe)
        for mode in range(shown):
            vector = point["eigenvector"].isel(score=row, mode=mode).values
            own[1 + mode].imshow(_signed(vector), interpolation="nearest")
            own[1 + mode].set_title(f"{float(point['eigenvalue'].isel(score=row)[mode]):.2f}", fontsize=7, pad=2)
    labels = [f"{names[row]}\nsample {n}, t = {times[column]:.2f}" for n, column, row in places]
    name_rows(axes, [fitted(label, 1.25, 7, 3) for label in labels])
    return figure


def _signed(vector: NDArray[np.float32]) -> NDArray[np.float64]:
    """Show values (C, H, W) of either sign: blue, white and red of one channel; else colours about grey."""
    known = np.nan_to_num(vector)  # there is none where a Jacobian vanishes
    scaled = known / max(float(np.abs(known).max()), 1e-30)
    if len(scaled) == 3:
        return np.asarray((1 + scaled.transpose(1, 2, 0)) / 2, dtype=np.float64)
    from matplotlib import colormaps

    mean = scaled.mean(0)
    return np.asarray(colormaps["RdBu_r"]((1 + mean / max(float(np.abs(mean).max()), 1e-30)) / 2)[..., :3])
