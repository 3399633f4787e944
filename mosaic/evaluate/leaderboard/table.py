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
FINAL, STEP, OWN_STEP = (
    ("score", "training", "sample"),
    ("score", "training", "step", "sample"),
    ("score", "training", "own_step", "sample"),
)


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
    own_time = None
    results = {NETWORK: _of_trainings(flows, networks, across, metrics, base)}
    for name, entry in theories.items():
        results[name] = result = _Result()
        if name in failed:
            continue
        with open_trajectory(entry.out) as run:
            for flow in flows:
                check_same_start(run, flow.start, "reference")
            image, own, own_time = run["image"].values, run["denoised"].values, run["time"].values
        for number, flow in enumerate(flows):
            stored, cost = _single_steps(entry.steps_along(flow.file))
            there, _ = _single_steps(across[number].steps_along(entry.out))
            result.costs.append(cost)
            result.add(
                {each: evaluated(metric, image, flow.image) for each, metric in metrics.items()},
                {each: _by_step(metric, stored, flow.denoised) for each, metric in metrics.items()},
                {each: _by_step(metric, own, there) for each, metric in metrics.items()},
                None if base is None or name == given else partial_correlation(image, flow.image, base),
            )
    return _assembled(results, flows, own_time, metrics)


class _Flow:
    """What the table needs of a network's run."""

    def __init__(self, file: Path, moments: int) -> None:
        self.file = file
        with open_trajectory(file) as run:
            self.moments = moments_of(run, moments).drop_vars("state").load()
            self.start = run.drop_vars("denoised").isel(step=[0]).load()
        self.image: Images = self.start["image"].values
        self.denoised: Images = self.moments["denoised"].values


class _Result:
    """Of one entry: what was measured, a list over trainings of each."""

    def __init__(self) -> None:
        self.final: list[Mapping[str, Values]] = []
        self.step: list[Mapping[str, Values]] = []
        self.own: list[Mapping[str, Values]] = []
        self.partial: list[Values | None] = []
        self.costs: list[tuple[Values, float]] = []

    def add(
        self,
        final: Mapping[str, Values],
        step: Mapping[str, Values],
        own: Mapping[str, Values],
        partial: Values | None,
    ) -> None:
        """Add what was measured against one training: (samples,) or (steps, samples), by metric."""
        self.final.append(final)
        self.step.append(step)
        self.own.append(own)
        self.partial.append(partial)


def _of_trainings(
    flows: Sequence[_Flow],
    networks: Sequence[LeaderboardEntry],
    across: Sequence[LeaderboardEntry],
    metrics: Mapping[str, Metric],
    base: Images | None,
) -> _Result:
    """How well the other trainings predict each one, mean over the others; only costs where there are none."""
    result = _Result()
    for number, flow in enumerate(flows):
        _, cost = _single_steps(networks[number].along[0].steps)
        result.costs.append(cost)
        others = [place for place in range(len(flows)) if place != number]
        if not others:
            continue
        here = {place: _single_steps(across[place].steps_along(flow.file))[0] for place in others}
        there = {place: _single_steps(across[number].steps_along(flows[place].file))[0] for place in others}
        result.add(
            {
                name: np.mean([evaluated(metric, flows[place].image, flow.image) for place in others], axis=0)
                for name, metric in metrics.items()
            },
            {
                name: np.mean([_by_step(metric, here[place], flow.denoised) for place in others], axis=0)
                for name, metric in metrics.items()
            },
            {
                name: np.mean([_by_step(metric, flows[place].denoised, there[place]) for place in others], axis=0)
                for name, metric in metrics.items()
            },
            None
            if base is None
            else np.mean([partial_correlation(flows[place].image, flow.image, base) for place in others], axis=0),
        )
    return result


def _final_image(file: Path) -> Images:
    with open_trajectory(file) as run:
        image: Images = run["image"].values
    return image


def _single_steps(file: Path) -> tuple[Images, tuple[Values, float]]:
    """x0hat (sample, step, C, H, W) of single steps; seconds (step,) of one sample, and peak memory."""
    with open_stored(file, (ENTRY_SCHEMA,), "the single steps of a leaderboard entry") as stored:
        seconds = stored["seconds"].values / stored.sizes["sample"]
        return stored["denoised"].values, (seconds, float(stored.attrs["peak_bytes"]))


def _by_step(metric: Metric, images: Images, reference: Images) -> Values:
    """Evaluate a metric (steps, samples) of x0hat (samples, steps, C, H, W)."""
    steps = range(images.shape[1])
    return np.stack([evaluated(metric, images[:, step], reference[:, step]) for step in steps])


def _assembled(
    results: Mapping[str, _Result], flows: Sequence[_Flow], own_time: Values | None, metrics: Mapping[str, Metric]
) -> xr.Dataset:
    """Put the results of all entries into one table."""
    moments = flows[0].moments
    trainings, samples, steps = len(flows), moments.sizes["sample"], moments.sizes["step"]
    own_steps = 0 if own_time is None else len(own_time)
    names = ("sample", "seed", "label", "step", "time", "signal", "noise")
    table = xr.Dataset(coords={"score": list(results), **{name: moments[name].variable for name in names}})
    if own_time is not None:
        table = table.assign_coords(own_step=np.arange(own_steps), own_time=("own_step", own_time))
    finals: dict[str, Values] = {}
    for name in metrics:
        final = np.full((len(results), trainings, samples), np.nan)
        own = final.copy()
        step = np.full((len(results), trainings, steps, samples), np.nan)
        own_step = np.full((len(results), trainings, own_steps, samples), np.nan)
        for place, (score, result) in enumerate(results.items()):
            for training in range(len(result.final)):
                final[place, training] = result.final[training][name]
                step[place, training] = result.step[training][name]
                own[place, training] = np.median(result.own[training][name], axis=0)
                if score != NETWORK:  # whose flow has other times
                    own_step[place, training] = result.own[training][name]
        finals[name] = final
        table = table.assign(
            {
                **with_interval(f"final_{name}", FINAL, final),
                **with_interval(f"step_{name}", STEP, step),
                **with_interval(f"along_{name}", FINAL, np.median(step, axis=2)),
                **with_interval(f"own_step_{name}", OWN_STEP, own_step),
                **with_interval(f"own_{name}", FINAL, own),
            }
        )
    partial = np.full((len(results), trainings, samples), np.nan)
    for place, result in enumerate(results.values()):
        for training, values in enumerate(result.partial):
            if values is not None:
                partial[place, training] = values
    if not np.isnan(partial).all():
        table = table.assign(with_interval("partial_pearson_r", FINAL, partial))
    ranking, metric = next(iter(metrics.items()))
    behind = _behind(finals[ranking], list(results), metric.higher_is_better)
    unknown = [(np.full(steps, np.nan), np.nan)]
    costs = [result.costs or unknown for result in results.values()]
    seconds = np.stack([np.mean([cost[0] for cost in each], axis=0) for each in costs])
    return table.assign(
        {
            **with_interval("behind", FINAL, behind),
            "seconds": (("score", "step"), seconds),
            "seconds_per_step": ("score", seconds.mean(1)),
            "peak_bytes": ("score", [max(cost[1] for cost in each) for each in costs]),
        }
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
    """How far each is behind the theory that is best on the other half of the samples."""
    behind = np.full(final.shape, np.nan)
    even, odd = best_of_halves(final, names, higher_is_better)
    for start, best in ((0, odd), (1, even)):
        if best is not None:
            lead = final[names.index(best)][None, :, start::2] - final[..., start::2]
            behind[..., start::2] = lead if higher_is_better else -lead
    return behind
