"""A network without errors: exact circular ELS in the network's place, on which boundary `valid` is calibrated.

It is run at the published scales of the row with zero padding. If the scales that `valid` then chooses are the
published circular ones, these come from the boundary, and from nothing in the network.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr

from mosaic.evaluate.calibration.calibrate import job_of, open_calibration
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.calibration.prepare import all_sizes, parse_sizes, prepare_calibration
from mosaic.interfaces.dataset import DataSet
from mosaic.registry.data import load_dataset
from mosaic.reproduction.circular.boundaries import BOUNDARIES, SCALES
from mosaic.reproduction.study.agreement import ENDS, intervals, pearson_r
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.run.config import RunConfig
from mosaic.run.memory import access_within
from mosaic.storage.job import FileJob
from mosaic.storage.made_by import record
from mosaic.train.score import score

__all__ = ["IdealNetwork"]

IMAGES, CALIBRATION_SAMPLES, SAMPLES = 100, 8, 16
ROLES = ("ideal", *(f"ideal-{boundary}" for boundary in BOUNDARIES))  # files and steps


class IdealNetwork:
    """Exact circular ELS as the network of a circular row, on at most 100 of the row's images.

    Parameters
    ----------
    experiment : Experiment
        Of the row.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.study = experiment, experiment.study
        self.scales = f"paper/{experiment.row.name.replace('circular', 'zeros')}"
        self.scales_file = experiment.folder / "scales-ideal.nc"
        self._calibration = experiment.step("calibrate ideal")

    @cached_property
    def dataset(self) -> DataSet:
        """The images, on the device of the row's own."""
        own, settings = self.experiment.load_dataset(), self.experiment.network_runs().settings
        options = {**settings["dataset_options"], "limit": min(IMAGES, len(own))}
        access = access_within(self.study.access, self.study.memory)
        return load_dataset(settings["dataset"], options, access).to(own.images.device)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def config(self, role: str) -> RunConfig:
        """Configure one of `ROLES`: the ideal network, or ELS with a boundary at the scales of `valid`."""
        boundary, scales = (
            ("circular", self.scales) if role == "ideal" else (role.partition("-")[2], str(self.scales_file))
        )
        settings = self.experiment.run_config("els", scales, boundary=boundary)
        update = {"dataset_options": dict(self.dataset.options), "samples": self.study.config.samples or SAMPLES}
        return settings.model_copy(update=update)

    def _job(self, role: str) -> FileJob:
        return self.study.run_job(self.config(role), self.experiment.folder / f"{role}.nc", self.dataset)

    def _run(self, role: str) -> xr.Dataset:
        path = self.experiment.folder / f"{role}.nc"
        return self.study.run(self.experiment.step(role), self.config(role), path, self.dataset)

    def _run_seconds(self) -> float | None:
        return self.study.run_seconds(self.config("ideal"), self.dataset)

    # --- calibration --------------------------------------------------------------------------------------------------

    def _sizes(self) -> str:
        return all_sizes(self.dataset.shape, self.experiment.load_plan().network.receptive_field())

    def _calibration_job(self) -> FileJob:
        config = self.study.config
        settings = CalibrationConfig(
            checkpoint="els",
            score="els",
            score_options={"boundary": "valid"},
            sizes=self._sizes(),
            samples=config.calibration_samples or CALIBRATION_SAMPLES,
            seed=config.seed + 1,
            labels=self.experiment.network_runs().labels,
        )
        network = score("els", self.dataset, scales=self.scales, boundary="circular")
        plan = prepare_calibration(settings, self.study.access, memory=self.study.memory, network=network)
        return job_of(plan, self.scales_file)

    def _calibration_seconds(self) -> float:
        samples = self.study.config.calibration_samples or CALIBRATION_SAMPLES
        own = self.config("ideal").model_copy(update={"samples": samples})
        tried = [
            own.model_copy(update={"score_options": {"boundary": "valid"}, "scales": str(k)})
            for k in parse_sizes(self._sizes())
        ]
        return sum(self.study.run_seconds(config, self.dataset) or 0.0 for config in (own, *tried))

    # --- together -----------------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """Give its run, the calibration on it, and the runs at the scales found."""
        calibrate = Step(self._calibration, self._calibration_job, None, self._calibration_seconds)
        return [
            calibrate,
            *(
                Step(
                    self.experiment.step(role),
                    partial(self._job, role),
                    None if role == "ideal" else calibrate,
                    self._run_seconds,
                )
                for role in ROLES
            ),
        ]

    def measure(self) -> xr.Dataset:
        """Calibrate `valid` on the ideal network, and see how well each boundary predicts it at the scales found.

        Returns
        -------
        xarray.Dataset
            `ideal_scale`, `ideal_scale_q25`, `ideal_scale_q75` (step), from the lowest noise to the highest;
            `ideal_pearson_r` (boundary, ideal_sample) with the ideal network's final images, its `_median`, `_low`,
            `_high`; and `ideal_valid_gain` (end), that of `valid` minus that of `circular`.
        """
        with self.study.execute(self._calibration, self._calibration_job()) as calibration:
            self.study.records[self._calibration] = record(calibration.attrs)
        with open_calibration(self.scales_file) as calibration, ExitStack() as stack:
            rising = calibration.sortby("time")
            scales = {f"ideal_{name}": ("step", rising[name].values.astype(float)) for name in SCALES}
            network, *runs = (stack.enter_context(self._run(role)) for role in ROLES)
            r = np.stack([pearson_r(run, network) for run in runs])
        variables: dict[str, tuple[Any, ...]] = {
            **scales,
            "ideal_pearson_r": (("boundary", "ideal_sample"), r),
            "ideal_valid_gain": ("end", intervals(r[1] - r[0])),
            **{f"ideal_pearson_r_{end}": ("boundary", intervals(r)[:, number]) for number, end in enumerate(ENDS)},
        }
        return xr.Dataset(variables, {"boundary": list(BOUNDARIES), "end": list(ENDS)})
