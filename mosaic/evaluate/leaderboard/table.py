"""The table of a leaderboard: how well theories agree with the networks, and what they cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mosaic.evaluate.leaderboard.agreement import Values, evaluated, partial_correlation, with_interval
from mosaic.evaluate.leaderboard.entry import LeaderboardEntry, moments_of
from mosaic.interfaces.metric import Metric
from mosaic.storage.files import open_stored
from mosaic.storage.schema import ENTRY_SCHEMA, NETWORK
from mosaic.storage.trajectory import check_same_start, open_trajectory

__all__ = ["best_of_halves", "leaderboard_table"]

Images = NDArray[np.float32]
Agreement = dict[str, Values]
"""Of one entry with one training: values (samples,), or (steps, samples), by the names of their variables."""

Costs = tuple[Values, float]
"""Seconds (steps,) of one sample, and bytes of memory."""


def leaderboard_table(
    networks: Sequence[LeaderboardEntry],
    theories: Mapping[str, LeaderboardEntry],
    across: Sequence[LeaderboardEntry],
    metrics: Mapping[str, Metric],
    given: str | None,
    failed: Collection[str] = (),
) -> xr.Dataset:
    """Compare what is stored of each theory with each network, and the networks with each other.

    Parameters
    ----------
    networks : sequence of LeaderboardEntry
        With single steps along their own flow.
    theories : mapping
        By their names, with single steps along the flow of each network.
    across : sequence of LeaderboardEntry
        The networks again, with single steps along the flows of the other networks and of the theories.
    metrics : mapping
        By their names; the first one says how far each is behind.
    given : str or None
        Theory beyond which the others are asked what they add.
    failed : collection of str
        Theories that have no numbers.

    Returns
    -------
    xarray.Dataset
        As `mosaic.leaderboard` gives it, without descriptions, the names of trainings and what it was made by.
    """
    flows = [_Flow(entry.out, entry.along[0].moments) for entry in networks]
    base = None if given is None or given in failed else _final_image(theories[given].out)
    agreements: dict[str, list[Agreement]] = {NETWORK: _of_trainings(flows, across, metrics, base)}
    costs = {NETWORK: [_single_steps(entry.along[0].steps)[1] for entry in networks]}
    own_time: Values | None = None
    for name, entry in theories.items():
        agreements[name], costs[name] = [], []
        if name in failed:
            continue
        with open_trajectory(entry.out) as run:
            for flow in flows:
                check_same_start(run, flow.start, "reference")
            image, own, own_time = run["image"].values, run["denoised"].values, run["time"].values
        for number, flow in enumerate(flows):
            here, cost = _single_steps(entry.steps_along(flow.file))
            there, _ = _single_steps(across[number].steps_along(entry.out))
            agreements[name].append(_agreement(metrics, flow, image, here, own, there, None if name == given else base))
            costs[name].append(cost)
    table = _with_agreements(_empty(list(agreements), flows[0].moments, own_time), agreements, len(flows), metrics)
    return _with_costs(table, costs)


class _Flow:
    """What the table needs of a network's run."""

    def __init__(self, file: Path, moments: int) -> None:
        self.file = file
        with open_trajectory(file) as run:
            self.moments = moments_of(run, moments).drop_vars("state").load()
            self.start = run.drop_vars("denoised").isel(step=[0]).load()
        self.image: Images = self.start["image"].values
        self.denoised: Images = self.moments["denoised"].values


def _agreement(
    metrics: Mapping[str, Metric],
    flow: _Flow,
    image: Images,
    here: Images,
    own: Images,
    there: Images,
    base: Images | None,
) -> Agreement:
    """Compare an entry with a network: x0hat (samples, steps, C, H, W) `here`, at states of the network's `flow`.

    `own` is the entry's x0hat at states of its own flow, `there` the network's.
    """
    agreement: Agreement = {}
    for name, metric in metrics.items():
        step, own_step = _by_step(metric, here, flow.denoised), _by_step(metric, own, there)
        agreement |= {f"final_{name}": evaluated(metric, image, flow.image)}
        agreement |= {f"step_{name}": step, f"along_{name}": np.median(step, axis=0)}
        agreement |= {f"own_step_{name}": own_step, f"own_{name}": np.median(own_step, axis=0)}
    if base is not None:
        agreement["partial_pearson_r"] = partial_correlation(image, flow.image, base)
    return agreement


def _of_trainings(
    flows: Sequence[_Flow], across: Sequence[LeaderboardEntry], metrics: Mapping[str, Metric], base: Images | None
) -> list[Agreement]:
    """How well the other trainings predict each one, mean over the others; empty where there are none."""
    agreements: list[Agreement] = []
    for number, flow in enumerate(flows):
        pairs: list[Agreement] = []
        for place, other in enumerate(flows):
            if place == number:
                continue
            here, _ = _single_steps(across[place].steps_along(flow.file))
            there, _ = _single_steps(across[number].steps_along(other.file))
            pairs.append(_agreement(metrics, flow, other.image, here, other.denoised, there, base))
        if pairs:
            mean = {name: np.mean([pair[name] for pair in pairs], axis=0) for name in pairs[0]}
            for name in metrics:
                mean[f"along_{name}"] = np.median(mean[f"step_{name}"], axis=0)
                # The states are of a network's flow, whose times are not those of the theories' own steps.
                mean[f"own_{name}"] = np.median(mean.pop(f"own_step_{name}"), axis=0)
            agreements.append(mean)
    return agreements


def _final_image(file: Path) -> Images:
    with open_trajectory(file) as run:
        image: Images = run["image"].values
    return image


def _single_steps(file: Path) -> tuple[Images, Costs]:
    """x0hat (sample, step, C, H, W) of single steps, and what they cost."""
    with open_stored(file, (ENTRY_SCHEMA,), "the single steps of a leaderboard entry") as stored:
        seconds = stored["seconds"].values / stored.sizes["sample"]
        return stored["denoised"].values, (seconds, float(stored.attrs["peak_bytes"]))


def _by_step(metric: Metric, images: Images, reference: Images) -> Values:
    """Evaluate a metric (steps, samples) of x0hat (samples, steps, C, H, W)."""
    steps = range(images.shape[1])
    return np.stack([evaluated(metric, images[:, step], reference[:, step]) for step in steps])


def _empty(scores: Sequence[str], moments: xr.Dataset, own_time: Values | None) -> xr.Dataset:
    """Make the table with its coordinates."""
    names = ("sample", "seed", "label", "step", "time", "signal", "noise")
    times = np.empty(0) if own_time is None else own_time
    own = {"own_step": np.arange(len(times)), "own_time": ("own_step", times)}
    return xr.Dataset(coords={"score": list(scores), **{name: moments[name].variable for name in names}, **own})


def _with_agreements(
    table: xr.Dataset,
    agreements: Mapping[str, Sequence[Agreement]],
    trainings: int,
    metrics: Mapping[str, Metric],
) -> xr.Dataset:
    """Add all agreements, NaN where an entry has none, with medians and intervals; and how far each is behind."""
    kinds = {"final": (), "step": ("step",), "along": (), "own_step": ("own_step",), "own": ()}
    axes: dict[str, tuple[str, ...]] = {f"{kind}_{name}": axis for name in metrics for kind, axis in kinds.items()}
    if any("partial_pearson_r" in each for of_entry in agreements.values() for each in of_entry):
        axes["partial_pearson_r"] = ()
    for name, axis in axes.items():
        dims = ("score", "training", *axis, "sample")
        values = np.full([trainings if dim == "training" else table.sizes[dim] for dim in dims], np.nan)
        for place, of_entry in enumerate(agreements.values()):
            for training, agreement in enumerate(of_entry):
                values[place, training] = agreement.get(name, np.nan)
        table = table.assign(with_interval(name, dims, values))
    ranking, metric = next(iter(metrics.items()))
    behind = _behind(table[f"final_{ranking}"].values, list(agreements), metric.higher_is_better)
    return table.assign(with_interval("behind", ("score", "training", "sample"), behind))


def _with_costs(table: xr.Dataset, costs: Mapping[str, Sequence[Costs]]) -> xr.Dataset:
    """Add time, mean over the flows of the networks, and memory; NaN where an entry has none."""
    unknown = [(np.full(table.sizes["step"], np.nan), np.nan)]
    known = [of_entry or unknown for of_entry in costs.values()]
    seconds = np.stack([np.mean([each[0] for each in of_entry], axis=0) for of_entry in known])
    return table.assign(
        seconds=(("score", "step"), seconds),
        seconds_per_step=("score", seconds.mean(1)),
        peak_bytes=("score", [max(each[1] for each in of_entry) for of_entry in known]),
    )


def best_of_halves(final: Values, names: Sequence[str], higher_is_better: bool) -> tuple[str | None, str | None]:
    """Name the theory that is best on the even samples, and the one that is best on the odd ones.

    Parameters
    ----------
    final : array (scores, trainings, samples)
        Metric of final images.
    names : sequence of str
        Of the scores; the network is none of the theories.

    Returns
    -------
    even, odd : str or None
        By the median over trainings and samples, of equals the first; None where no theory has numbers.
    """
    best: list[str | None] = []
    for half in (final[..., ::2], final[..., 1::2]):
        medians = {
            name: float(np.nanmedian(values))
            for name, values in zip(names, half, strict=True)
            if name != NETWORK and not np.isnan(values).all()
        }
        chosen = max if higher_is_better else min
        best.append(chosen(medians, key=lambda name: medians[name]) if medians else None)
    return best[0], best[1]


def _behind(final: Values, names: Sequence[str], higher_is_better: bool) -> Values:
    """How far each is behind the theory that is best on the other half of the samples.

    NaN for a theory that is best on both halves: it would be compared with itself. One that is best on one half is
    compared with itself on the other, where it has 0.
    """
    behind = np.full(final.shape, np.nan)
    even, odd = best_of_halves(final, names, higher_is_better)
    for start, best in ((0, odd), (1, even)):
        if best is not None:
            lead = final[names.index(best)][None, :, start::2] - final[..., start::2]
            behind[..., start::2] = lead if higher_is_better else -lead
    if even is not None and even == odd:
        behind[names.index(even)] = np.nan
    return behind
