"""How well theories agree with a network: final images, and x0hat at the network's own states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from mosaic.plugins import registry
from mosaic.ranking.entrant import NETWORK, Job, moments_of
from mosaic.run_comparison import check_same_start
from mosaic.statistics import interval_of
from mosaic.trajectory import open_trajectory

__all__ = ["METRICS", "agreement_with"]

METRICS = ("pearson_r", "r2", "R2", "mse")
Values = NDArray[np.float64]


def agreement_with(jobs: Mapping[str, Job], present: Sequence[str]) -> xr.Dataset:
    """Compare what is stored of each theory that is present with the network; NaN for the others, and the network.

    Returns
    -------
    xarray.Dataset
        As `mosaic.leaderboard` gives it, without attributes.
    """
    first = next(iter(jobs.values()))
    with open_trajectory(first.along) as network:
        there = moments_of(network, first.moments).load()
        reference, own = network["image"].values, there["denoised"].values
        coordinates = {name: there[name] for name in ("sample", "seed", "label", "time", "signal", "noise")}
        samples, steps = there.sizes["sample"], there.sizes["step"]
        values = {
            name: (np.full((len(jobs), samples), np.nan), np.full((len(jobs), steps, samples), np.nan))
            for name in METRICS
        }
        seconds, peak = np.full((len(jobs), steps), np.nan), np.full(len(jobs), np.nan)
        for place, (name, job) in enumerate(jobs.items()):
            if name not in present:
                continue
            with open_trajectory(job.out) as run, xr.open_dataset(job.steps) as single:
                check_same_start(run, network, "reference")
                seconds[place] = single["seconds"].values / samples
                peak[place] = float(single.attrs["peak_bytes"])
                for metric in METRICS if name != NETWORK else ():
                    final, along = values[metric]
                    final[place] = _evaluated(metric, run["image"].values, reference)
                    for step in range(steps):
                        along[place, step] = _evaluated(metric, single["denoised"].values[:, step], own[:, step])
    found = xr.Dataset(
        coords={
            "score": list(jobs),
            **{name: one.drop_vars("scale", errors="ignore") for name, one in coordinates.items()},
        }
    )
    for metric, (final, along) in values.items():
        words = f"{metric} of the theory's final image with the network's"
        found = found.assign(_with_interval(f"final_{metric}", words, ("score", "sample"), final))
        words = f"{metric} of the theory's x0hat at a state of the network's flow with the network's x0hat there"
        found = found.assign(_with_interval(f"step_{metric}", words, ("score", "step", "sample"), along))
        words = f"{words}, median over steps"
        found = found.assign(_with_interval(f"along_{metric}", words, ("score", "sample"), np.median(along, axis=1)))
    return found.assign(_behind(found["final_pearson_r"])).assign(
        seconds=(("score", "step"), seconds, {"long_name": "time of a step of one sample", "units": "s"}),
        seconds_per_step=("score", seconds.mean(1), {"long_name": "that, mean over steps", "units": "s"}),
        peak_bytes=("score", peak, {"long_name": "peak memory, program and data included", "units": "byte"}),
    )


def _behind(final: xr.DataArray) -> dict[str, tuple[object, ...]]:
    """How far each theory is behind the best one, sample by sample."""
    medians = final.median("sample")
    if bool(medians.isnull().all()):
        return {}
    best = str(medians.idxmax("score").item())
    words = f"pearson_r of final images by which '{best}' is ahead, sample by sample"
    return _with_interval("behind", words, ("score", "sample"), final.sel(score=best).values - final.values)


def _evaluated(metric: str, images: NDArray[np.float32], reference: NDArray[np.float32]) -> Values:
    kind = registry().get("metric", metric)
    found: Values = kind()(torch.from_numpy(images), torch.from_numpy(reference)).double().numpy()
    return found


def _with_interval(name: str, words: str, dims: tuple[str, ...], values: Values) -> dict[str, tuple[object, ...]]:
    """Values along samples, the last dimension, with median and interval."""
    ends = np.array([interval_of(row, "median") for row in values.reshape(-1, values.shape[-1])])
    ends = ends.reshape(*values.shape[:-1], 3)
    found: dict[str, tuple[object, ...]] = {name: (dims, values, {"long_name": words, "units": "1"})}
    told = {"median": "median over samples", "low": "its interval's lower end", "high": "its interval's upper end"}
    for place, (end, what) in enumerate(told.items()):
        found[f"{name}_{end}"] = (dims[:-1], ends[..., place], {"long_name": f"{words}: {what}", "units": "1"})
    return found
