"""What makes images from the same noise on each half: the networks, and the theories of the half's images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import xarray as xr

from mosaic.errors import UsageError
from mosaic.interfaces.dataset import DataSet
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.network_time import network_seconds
from mosaic.reproduction.study.rows import THEORY_STEPS
from mosaic.reproduction.study.steps import calibration_steps, run_step, training_step
from mosaic.reproduction.transition.candidates import HELD_OUT, TIMES, candidates_job, windows_for
from mosaic.reproduction.transition.halves import HALVES, HalfExperiment
from mosaic.run.config import RunConfig
from mosaic.storage.job import FileJob
from mosaic.storage.made_by import record

__all__ = ["COUNTS", "FIXED", "MAKERS", "Halves"]

COUNTS: dict[str, tuple[int, ...]] = {
    "cpu": (10, 30, 100, 300, 1000),
    "paper": (10, 30, 100, 300, 1000, 3000, 10_000, 30_000),
}
FIXED = "els-fixed"  # ELS at the scales of the largest count, at every count
MAKERS = {
    NETWORK: "network",
    "is": "IS",
    "ls": "LS",
    "els": "ELS",
    FIXED: "ELS, scales of the largest N",
    "gaussian": "Gaussian",
}


@dataclass(frozen=True)
class Halves:
    """The experiments of a row, by half and number of images.

    Attributes
    ----------
    experiment : Experiment
        That of the row itself, whose data are halved; its network is not trained.
    """

    experiment: Experiment

    @cached_property
    def whole(self) -> DataSet:
        """The row's data, read once."""
        return self.experiment.load_dataset()

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Numbers of images of each half, of those of the preset, that the data have twice.

        Raises
        ------
        UsageError
            If they do not even have the least.
        """
        wanted = COUNTS[self.experiment.study.config.preset]
        counts = tuple(count for count in wanted if 2 * count <= len(self.whole))
        if not counts:
            raise UsageError(
                f"`dataset` has {len(self.whole)} images; 'transition' needs at least {2 * wanted[0]}, two halves of "
                f"{wanted[0]}."
            )
        return counts

    @cached_property
    def experiments(self) -> dict[tuple[str, int], HalfExperiment]:
        """All of them; the scales are those of half A with as many images."""
        made: dict[tuple[str, int], HalfExperiment] = {}
        for count in self.counts:
            for half in HALVES:
                made[half, count] = HalfExperiment(
                    self.experiment.row,
                    self.experiment.study,
                    half,
                    count,
                    lambda: self.whole,
                    self.counts[-1],
                    made.get((HALVES[0], count)),
                )
        return made

    @property
    def largest(self) -> HalfExperiment:
        """The experiment whose scales `FIXED` has."""
        return self.experiments[HALVES[0], self.counts[-1]]

    def _is_fixed(self, maker: str, own: HalfExperiment) -> bool:
        """Whether a maker has scales of another count; at the largest count ELS itself has them."""
        return maker == FIXED and own.count != self.largest.count

    def _fixed_config(self, own: HalfExperiment) -> RunConfig:
        return own.run_config("els", str(self.largest.scales_file()))

    def run(self, maker: str, own: HalfExperiment) -> xr.Dataset:
        """Run one of `MAKERS` on an experiment's images, after what it depends on; as far as that has not been done."""
        if not self._is_fixed(maker, own):
            return own.run("els" if maker == FIXED else maker)
        self.largest.calibrate()
        return own.execute(maker, self._fixed_config(own))

    def count_candidates(self, count: int) -> xr.Dataset:
        """Count the effective candidates of ELS on so many images of half A, as far as that has not been done."""
        own = self.experiments[HALVES[0], count]
        with own.study.execute(own.step("n_eff"), self.candidates_job(own)) as stored:
            own.study.records[own.step("n_eff")] = record(stored.attrs)
            counted: xr.Dataset = stored.load()
            return counted

    def candidates_job(self, own: HalfExperiment) -> FileJob:
        """Give the job of that, at noisy images of half B, the same ones at all counts."""
        return candidates_job(own, self.experiments[HALVES[1], self.counts[0]].load_dataset())

    # --- forecasts ----------------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """Give the trainings, the calibrations, the runs and the maps of candidates."""
        steps: dict[str, Step] = {}
        for own in self.experiments.values():
            needed = [training_step(own), *calibration_steps(own), *(self._step(maker, own) for maker in MAKERS)]
            if own.half == HALVES[0]:
                job, seconds = partial(self.candidates_job, own), partial(self._candidates_seconds, own)
                needed += [Step(own.step("n_eff"), job, seconds=seconds)]
            steps |= {step.name: step for step in needed if step.name not in steps}
        return list(steps.values())

    def _step(self, maker: str, own: HalfExperiment) -> Step:
        if maker == NETWORK:
            return replace(run_step(own, maker), seconds=lambda: network_seconds(own, THEORY_STEPS * own.samples))
        if not self._is_fixed(maker, own):
            return run_step(own, "els" if maker == FIXED else maker)
        calibrated, seconds = calibration_steps(self.largest)[-1], run_step(own, "els").seconds
        return Step(own.step(maker), lambda: own.run_job(maker, self._fixed_config(own)), calibrated, seconds)

    def _candidates_seconds(self, own: HalfExperiment) -> float:
        """Seconds of a run of ELS at each window, with as many samples and steps as the map has."""
        sizes = {"samples": HELD_OUT, "steps": len(TIMES)}
        windows = windows_for(own.load_dataset())
        configs = [own.run_config("els", str(k)).model_copy(update=sizes) for k in windows]
        return sum(own.run_seconds(config) or 0.0 for config in configs)
