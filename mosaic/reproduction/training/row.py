"""What is run and measured of a row: its networks, and the theories beside each."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from mosaic.reproduction.study.agreement import ENDS, intervals, pearson_r
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.steps import calibration_steps, run_step, scaled_step, training_step
from mosaic.reproduction.training.equivariance import TIMES, Moment, interior_errors, moments_of
from mosaic.reproduction.training.networks import ALL, IMAGES, POINTS, Point, network_at, samples_of
from mosaic.run.config import RunConfig
from mosaic.run.score import Score
from mosaic.train.score import score

__all__ = ["COMMUTES_NOT", "OWN_SCALES", "THEORIES", "TrainingRow"]

OWN_SCALES = "els-own-scales"
SCALED = ("els", "ls")  # at the scales calibrated on the row's own network
FIXED = (*SCALED, "is", "gaussian")  # theories that depend on the images alone
THEORIES = {OWN_SCALES: "ELS at its own scales", "els": "ELS", "ls": "LS", "is": "IS", "gaussian": "Gaussian"}
PLACES = {theory: number for number, theory in enumerate(THEORIES)}
COMMUTES_NOT = ("ls", "is", "gaussian")  # with shifts


class TrainingRow:
    """A row's networks, and the theories beside each.

    Parameters
    ----------
    own : Experiment
        The row.
    """

    def __init__(self, own: Experiment) -> None:
        self.own = own
        self.networks = {point: network_at(own, point) for point in POINTS}

    def _beside(self, point: Point) -> Experiment:
        """Give the experiment that has the runs of `FIXED`: the row itself, where the images are the row's."""
        return self.networks[point] if point.series == IMAGES else self.own

    def _stem(self, point: Point, theory: str) -> str:
        """Name of the file of such a run; in the row itself it is the theory's."""
        return f"{theory}-row-scales" if point.series == IMAGES and theory in SCALED else theory

    def _config(self, point: Point, theory: str) -> RunConfig:
        return self._beside(point).run_config(theory, str(self.own.scales_file()) if theory in SCALED else None)

    # --- steps --------------------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """Give the steps of the row's own network, then those of the others, with the theories beside each."""
        steps: dict[str, Step] = {}
        for point in (ALL, *POINTS):
            network = self.networks[point]
            of_network = [training_step(network), run_step(network, NETWORK), *calibration_steps(network)]
            for step in (*of_network, run_step(network, "els"), *(self._step(point, theory) for theory in FIXED)):
                steps.setdefault(step.name, step)
        return list(steps.values())

    def _step(self, point: Point, theory: str) -> Step:
        beside, stem = self._beside(point), self._stem(point, theory)
        if stem == theory:
            return run_step(beside, theory)
        config = partial(self._config, point, theory)
        return scaled_step(beside, beside.step(stem), stem, config, theory, beside.samples, self.own)

    def _run(self, point: Point, theory: str) -> xr.Dataset:
        beside, stem = self._beside(point), self._stem(point, theory)
        if theory == OWN_SCALES:
            return self.networks[point].run("els")
        return beside.run(theory) if stem == theory else beside.execute(stem, self._config(point, theory))

    # --- what is measured ---------------------------------------------------------------------------------------------

    def measure(self) -> xr.Dataset:
        """Train, run and compare, as far as that has not been done.

        Returns
        -------
        xarray.Dataset
            Of each network, along `network`: its `epochs` and `images`.

            `pearson_r` (network, theory, sample) of a theory's final images with the network's, its `_median`, `_low`
            and `_high`; `rise` (network, theory, end), the median of that of the row's own network minus that of this
            one, from the same noise. `pearson_r_with_els` (network, theory, sample) of the theory with ELS on the same
            images, at the row's scales, with its median and interval; `pearson_r_excess` (network, theory, end), the
            median of that with ELS minus that with the network.

            `equivariance_error_interior` (network, time, noisy_sample) as `interior_errors` gives it, its `_mean`,
            `_low` and `_high`; `equivariance_rise` (network, time, end), the mean of that of the row's own network
            minus that of this one; `theory_error_interior` (theory, time, noisy_sample) with its mean and interval,
            the same of theories that do not commute with shifts, on the row's images.
        """
        self.own.calibrate()
        r, with_els = (np.stack(arrays) for arrays in zip(*map(self._correlations, POINTS), strict=True))
        errors, of_theories = self._errors()
        own = POINTS.index(ALL)
        variables: dict[str, tuple[Any, ...]] = {
            "epochs": ("network", [each.load_plan().config.epochs for each in self.networks.values()]),
            "images": ("network", [len(each.load_dataset()) for each in self.networks.values()]),
            **_with_ends("pearson_r", ("network", "theory", "sample"), r),
            **_with_ends("pearson_r_with_els", ("network", "theory", "sample"), with_els),
            "rise": (("network", "theory", "end"), intervals(r[own] - r)),
            "pearson_r_excess": (("network", "theory", "end"), intervals(with_els - r)),
            **_with_ends("equivariance_error_interior", ("network", "time", "noisy_sample"), errors, "mean"),
            **_with_ends("theory_error_interior", ("theory", "time", "noisy_sample"), of_theories, "mean"),
            "equivariance_rise": (("network", "time", "end"), intervals(errors[own] - errors, "mean")),
        }
        names = [point.name for point in POINTS]
        return xr.Dataset(
            variables, {"network": names, "theory": list(THEORIES), "time": list(TIMES), "end": list(ENDS)}
        )

    def _correlations(self, point: Point) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Correlations (theory, sample) of theories with a network, and with ELS at the row's scales."""
        first = {"sample": slice(0, samples_of(self.own))}
        with ExitStack() as stack:
            network = stack.enter_context(self.networks[point].run(NETWORK)).isel(first)
            runs = [stack.enter_context(self._run(point, theory)).isel(first) for theory in THEORIES]
            r = np.stack([pearson_r(run, network) for run in runs])
            with_els = np.stack([pearson_r(run, runs[PLACES["els"]]) for run in runs])
        with_els[PLACES["els"]] = np.nan  # its own images
        return r, with_els

    def _errors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Errors of equivariance of the networks (network, time, sample) and of the theories (theory, time, sample).

        The images are of the fewest, so that all networks have been trained on them.
        """
        fewest = min((each.load_dataset() for each in self.networks.values()), key=len)
        theories = {theory: self._theory(theory) for theory in ("els", *COMMUTES_NOT)}
        moments = moments_of(fewest, theories["els"], self.own.study.config.seed)
        count = len(moments[0].x)
        labels = fewest.labels[:count] if self.own.row.conditional and fewest.labels is not None else None
        networks = {point: score(each.train(), each.load_dataset()) for point, each in self.networks.items()}
        errors = [self._error(networks[point], moments, labels, point.name) for point in POINTS]
        of_theories = np.full((len(THEORIES), *errors[0].shape), np.nan)
        for theory in COMMUTES_NOT:
            of_theories[PLACES[theory]] = self._error(theories[theory], moments, labels, theory)
        return np.stack(errors), of_theories

    def _theory(self, theory: str) -> Score:
        """Give a theory on the row's images, at the row's scales."""
        config = self._config(ALL, theory)
        return score(theory, self.own.load_dataset(), scales=config.scales, **config.score_options)

    def _error(self, of: Score, moments: list[Moment], labels: Tensor | None, name: str) -> NDArray[np.float64]:
        study, done = self.own.study, f"{self.own.row.name}: equivariance of {name}"
        study.progress(0, 1, "score", done)
        errors = interior_errors(of, moments, labels, study.config.seed)
        study.progress(1, 1, "score", done)
        return errors


def _with_ends(
    name: str, dims: tuple[str, ...], values: NDArray[np.float64], statistic: str = "median"
) -> dict[str, tuple[Any, ...]]:
    """Give a variable along samples, its median (or mean), and the interval of that."""
    ends = intervals(values, statistic)
    summed = {f"{name}_{end}": (dims[:-1], ends[..., number]) for number, end in enumerate((statistic, *ENDS[1:]))}
    return {name: (dims, values), **summed}
