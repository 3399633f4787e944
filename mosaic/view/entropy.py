"""The picture of how sure a posterior is: its effective number of candidates, by pixel and over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.storage.indexes import evenly_spread
from mosaic.storage.requirements import check_samples, known_values, require, title_of
from mosaic.view.colours import BLUE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_entropy", "effective_candidates", "entropy_needs"]

CURVE, LEFT, RIGHT = 1.8, 0.8, 0.7  # inches of the curve's height, and beside the maps


def entropy_needs(run: xr.Dataset) -> tuple[str, ...]:
    """What is drawn of a run; either of `entropy` and `n_eff` will do."""
    return "image", "time", "n_eff" if "n_eff" in run.variables else "entropy"


def draw_entropy(run: xr.Dataset, samples: Sequence[int], columns: int = 8) -> Figure:
    """Draw the effective number of candidates: pixel by pixel at some steps, and its course over time.

    Raises
    ------
    UsageError, DataError
        If a sample is not in the run, or the run does not hold `entropy` or `n_eff` of all steps.
    """
    from matplotlib.colors import LogNorm

    from mosaic.view.figure import GAP, LINE, MARGIN, grid, name_rows, sides_of

    run = require(run, entropy_needs(run))
    check_samples(run, samples)
    n_eff, times = effective_candidates(run.isel(sample=list(samples))), known_values(run, "time").values
    steps = evenly_spread(run.sizes["step"], columns)
    shape, rows, cols = n_eff.shape[2:], len(samples), len(steps)
    title = f"{title_of(run)}: effective number of candidates, exp of the posterior's entropy"
    above, beside = [10, *[0] * (rows - 1)], {"left": LEFT, "right": RIGHT, "below": CURVE + 0.8}
    figure, axes = grid(rows, cols, shape, title, above=above, least=5, **beside)
    norm = LogNorm(1, max(2.0, float(n_eff.max())))
    for row in range(rows):
        for axis, step in zip(axes[row], steps.tolist(), strict=True):
            mesh = axis.imshow(n_eff[row, step], cmap="viridis", norm=norm, interpolation="nearest")
            if row == 0:
                axis.set_title(f"t = {times[step]:.2f}", fontsize=7, pad=3)
    name_rows(axes, [f"sample {sample}" for sample in samples])
    height = rows * (sides_of(shape)[0] + GAP)
    width, end = figure.get_figwidth(), axes[0, -1].get_position().x1 * figure.get_figwidth()
    figure.colorbar(mesh, cax=figure.place(end + GAP, 10 * LINE, 0.12, height - GAP), label="n_eff")
    axis = figure.place(LEFT, height + 10 * LINE + 0.2, width - LEFT - RIGHT - MARGIN, CURVE)
    quartiles = n_eff.quantile([0.25, 0.5, 0.75], dim=["sample", "height", "width"]).values
    axis.fill_between(times, quartiles[0], quartiles[2], color=BLUE, alpha=0.25, linewidth=0, label="quartiles")
    axis.plot(times, quartiles[1], "o-", color=BLUE, markersize=3, label="median of the pixels")
    axis.set_yscale("log")
    axis.set_xlabel("time t (noise rises to the right)")
    axis.set_ylabel("n_eff")
    axis.legend(fontsize=7)
    return figure


def effective_candidates(run: xr.Dataset) -> xr.DataArray:
    """n_eff (sample, step, height, width) of a run, from what it holds.

    Raises
    ------
    DataError
        If it does not hold it at all steps.
    """
    if "n_eff" in run:
        return known_values(run, "n_eff")
    entropy = known_values(run, "entropy")
    return entropy.copy(data=np.exp(entropy.values))
