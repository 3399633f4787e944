"""The table of a leaderboard: how well theories agree with the network, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from mosaic.device import standard_torch
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry, moments_of
from mosaic.evaluate.statistics import interval_of
from mosaic.interfaces.metric import Metric
from mosaic.storage.files import open_stored
from mosaic.storage.schema import ENTRY_SCHEMA, LEADERBOARD_SCHEMA, NETWORK, described
from mosaic.storage.trajectory import check_same_start, open_trajectory

__all__ = ["leaderboard_table"]

Values = NDArray[np.float64]


def leaderboard_table(
    entries: Mapping[str, LeaderboardEntry], present: Sequence[str], metrics: Mapping[str, Metric]
) -> xr.Dataset:
    """Compare what is stored of each entry that is present with the network; NaN for the others, and the network.

    Parameters
    ----------
    entries : mapping
        By the names of score models; the network first.
    present : sequence of str
        Whose files are there.
    metrics : mapping
        By their names; the first one says how far each is behind.

    Returns
    -------
    xarray.Dataset
        As `mosaic.leaderboard` gives it, without what it was made by.
    """
    first = next(iter(entries.values()))
    with open_trajectory(first.along) as network:
        moments = moments_of(network, first.moments).load()
        reference = network.drop_vars("denoised").load()
    samples, steps = moments.sizes["sample"], moments.sizes["step"]
    final = {name: np.full((len(entries), samples), np.nan) for name in metrics}
    single = {name: np.full((len(entries), steps, samples), np.nan) for name in metrics}
    seconds, peak = np.full((len(entries), steps), np.nan), np.full(len(entries), np.nan)
    for place, (score, entry) in enumerate(entries.items()):
        if score not in present:
            continue
        with (
            open_trajectory(entry.out) as run,
            open_stored(entry.steps, (ENTRY_SCHEMA,), "the single steps of a leaderboard entry") as stored,
        ):
            check_same_start(run, reference, "reference")
            seconds[place], peak[place] = stored["seconds"].values / samples, float(stored.attrs["peak_bytes"])
            image, denoised = run["image"].values, stored["denoised"].values
        for name, metric in metrics.items() if score != NETWORK else ():
            final[name][place] = _evaluated(metric, image, reference["image"].values)
            for step in range(steps):
                single[name][place, step] = _evaluated(metric, denoised[:, step], moments["denoised"].values[:, step])
    table = xr.Dataset(coords={"score": list(entries), **_coordinates(moments)})
    for name in metrics:
        table = table.assign(_with_interval(f"final_{name}", ("score", "sample"), final[name]))
        table = table.assign(_with_interval(f"step_{name}", ("score", "step", "sample"), single[name]))
        table = table.assign(_with_interval(f"along_{name}", ("score", "sample"), np.median(single[name], axis=1)))
    ranking, metric = next(iter(metrics.items()))
    table = table.assign(_behind(table[f"final_{ranking}"], metric.higher_is_better)).assign(
        seconds=(("score", "step"), seconds),
        seconds_per_step=("score", seconds.mean(1)),
        peak_bytes=("score", peak),
    )
    return described(table, LEADERBOARD_SCHEMA, tuple(metrics))


def _coordinates(moments: xr.Dataset) -> dict[str, xr.Variable]:
    names = ("sample", "seed", "label", "step", "time", "signal", "noise")
    return {name: moments[name].variable for name in names}


def _behind(final: xr.DataArray, higher_is_better: bool) -> dict[str, tuple[object, ...]]:
    """How far each theory is behind the best one, sample by sample."""
    medians = final.median("sample")
    if bool(medians.isnull().all()):
        return {}
    best = final.sel(score=(medians.idxmax("score") if higher_is_better else medians.idxmin("score")).item()).values
    behind = best - final.values if higher_is_better else final.values - best
    return _with_interval("behind", ("score", "sample"), behind)


@standard_torch()
def _evaluated(metric: Metric, images: NDArray[np.float32], reference: NDArray[np.float32]) -> Values:
    values: Values = metric(torch.from_numpy(images), torch.from_numpy(reference)).double().cpu().numpy()
    return values


def _with_interval(name: str, dims: tuple[str, ...], values: Values) -> dict[str, tuple[object, ...]]:
    """Values along samples, the last dimension, with median and interval."""
    ends = np.array([interval_of(row, "median") for row in values.reshape(-1, values.shape[-1])])
    ends = ends.reshape(*values.shape[:-1], 3)
    return {
        name: (dims, values),
        **{f"{name}_{end}": (dims[:-1], ends[..., place]) for place, end in enumerate(("median", "low", "high"))},
    }
