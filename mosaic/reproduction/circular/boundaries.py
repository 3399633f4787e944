"""ELS with two boundaries beside a circular network, as steps of its row.

`circular` is eqs. 9-10 of Kamb & Ganguli 2025. The authors' released machine for circular networks pads x circularly
and cuts candidates without padding: our `valid`. The published scales of circular networks belong to it.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from mosaic.evaluate.calibration.calibrate import open_calibration
from mosaic.reproduction.study.agreement import ENDS, intervals, pearson_r
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.steps import calibration_seconds, calibration_steps, run_step, training_step
from mosaic.run.config import RunConfig
from mosaic.sampling.scales import PAPER_SCALES
from mosaic.storage.job import FileJob
from mosaic.storage.made_by import record

__all__ = ["BOUNDARIES", "MACHINES", "SCALES", "Boundaries"]

BOUNDARIES = ("circular", "valid")
MACHINES = ("calibrated", "published")  # scales
SCALES = ("scale", "scale_q25", "scale_q75")


class Boundaries:
    """ELS with each boundary, at scales calibrated with it and at the published ones, beside the row's network.

    Parameters
    ----------
    experiment : Experiment
        Of a row whose network is circular and local.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.files = {"circular": experiment.scales_file(), "valid": experiment.folder / "scales-valid.nc"}
        self._calibration = experiment.step("calibrate valid")

    def config(self, boundary: str, machine: str) -> RunConfig:
        """Configure a run of ELS, from the noise and labels of all runs of the row."""
        scales = f"paper/{self.experiment.row.name}" if machine == "published" else str(self.files[boundary])
        return self.experiment.run_config("els", scales, boundary=boundary)

    @staticmethod
    def stem(boundary: str, machine: str) -> str:
        """Name of that run's file, and of its step; `els` is the run that the row has anyway."""
        return "-".join(["els", *["valid"] * (boundary == "valid"), *["published"] * (machine == "published")])

    def _calibration_job(self) -> FileJob:
        return self.experiment.calibration_job("els", self.files["valid"], boundary="valid")

    def steps(self) -> list[Step]:
        """Give the usual steps of the row's network and ELS, then those with `valid` and at the published scales."""
        own = self.experiment
        train = training_step(own)
        seconds = partial(calibration_seconds, own, "els", boundary="valid")
        calibrate = Step(self._calibration, self._calibration_job, train, seconds)
        return [
            *(train, run_step(own, NETWORK), *calibration_steps(own), run_step(own, "els"), calibrate),
            self._run_step("valid", "calibrated", calibrate),
            *(self._run_step(boundary, "published") for boundary in BOUNDARIES),
        ]

    def _run_step(self, boundary: str, machine: str, rests_on: Step | None = None) -> Step:
        own, stem = self.experiment, self.stem(boundary, machine)

        def seconds() -> float | None:  # at the published scales, as those calibrated are about as large
            return own.run_seconds(self.config(boundary, "published"))

        return Step(own.step(stem), lambda: own.run_job(stem, self.config(boundary, machine)), rests_on, seconds)

    def measure(self) -> xr.Dataset:
        """Calibrate, run and compare, as far as that has not been done.

        Returns
        -------
        xarray.Dataset
            `scale`, `scale_q25`, `scale_q75` (boundary, step), calibrated, from the lowest noise to the highest, and
            `paper` (step), published; `pearson_r` (boundary, machine, sample) with the network's final images, its
            `_median`, `_low` and `_high`; `valid_gain` (machine, end), that of `valid` minus that of `circular`.
        """
        own, study = self.experiment, self.experiment.study
        own.train()
        own.calibrate()
        with study.execute(self._calibration, self._calibration_job()) as calibration:
            study.records[self._calibration] = record(calibration.attrs)
        with ExitStack() as stack:
            network = stack.enter_context(own.run(NETWORK))
            r = np.stack(
                [
                    [pearson_r(stack.enter_context(self._run(boundary, machine)), network) for machine in MACHINES]
                    for boundary in BOUNDARIES
                ]
            )
            calibrations = [stack.enter_context(open_calibration(self.files[name])) for name in BOUNDARIES]
            rising = [each.sortby("time") for each in calibrations]
            scales = {name: np.stack([each[name].values for each in rising]).astype(float) for name in SCALES}
            times = rising[0]["time"].values
        variables: dict[str, tuple[Any, ...]] = {
            **{name: (("boundary", "step"), values) for name, values in scales.items()},
            "paper": ("step", np.array(PAPER_SCALES[own.row.name], dtype=float)),
            "pearson_r": (("boundary", "machine", "sample"), r),
            "valid_gain": (("machine", "end"), intervals(r[1] - r[0])),
            **{
                f"pearson_r_{end}": (("boundary", "machine"), intervals(r)[..., number])
                for number, end in enumerate(ENDS)
            },
        }
        coords = {"boundary": list(BOUNDARIES), "machine": list(MACHINES), "end": list(ENDS), "time": ("step", times)}
        return xr.Dataset(variables, coords)

    def _run(self, boundary: str, machine: str) -> xr.Dataset:
        return self.experiment.execute(self.stem(boundary, machine), self.config(boundary, machine))
