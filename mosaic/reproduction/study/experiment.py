"""One row's experiment: train, calibrate, run theories and network from the same noise, compare.

Every step is a job in the row's folder. Finished results are used again, unfinished ones are resumed, and those made
with other settings are refused.

References: Kamb & Ganguli 2025, sec. 5 and app. C.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.disk.atomic import write_together
from mosaic.evaluate.calibration.calibrate import job_of
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.calibration.prepare import prepare_calibration
from mosaic.evaluate.compare import compare
from mosaic.interfaces.dataset import DataSet
from mosaic.progress import prefixed
from mosaic.reproduction.study.rows import THEORIES, THEORY_STEPS, Row, row_named, sizes_of
from mosaic.reproduction.study.study import Study
from mosaic.run.config import RunConfig
from mosaic.run.memory import access_within
from mosaic.storage.files import as_attribute, store
from mosaic.storage.job import FileJob
from mosaic.storage.made_by import record
from mosaic.train.checkpoint import Checkpoint
from mosaic.train.config import TrainConfig
from mosaic.train.job import TrainingJob
from mosaic.train.plan import TrainPlan
from mosaic.train.prepare import prepare_training
from mosaic.train.runs import NetworkRuns, runs_of_training
from mosaic.view.comparison import draw_agreement, draw_side_by_side
from mosaic.view.images import save_figure, write_figure
from mosaic.view.scales import draw_scales

__all__ = ["CALIBRATED", "NETWORK", "PAPER_SCALED", "Experiment", "scales_name"]

NETWORK = "network"  # the role of the trained network among the runs
# Theories that have a scale and a boundary, and the one whose calibration each uses.
CALIBRATED = {"els": "els", "soft-els": "soft-els", "ls": "els"}
PAPER_SCALED = ("els", "ls")
BASELINES = {"els": "is", "soft-els": "els", "ls": "is"}


def scales_name(score: str) -> str:
    """Name of the file, in a row's folder, of the scales that a theory uses."""
    theory = CALIBRATED[score]
    return "scales.nc" if theory == "els" else f"scales-{theory}.nc"


class Experiment:
    """The experiment of a row.

    Parameters
    ----------
    row : Row
        What is trained on what.
    study : Study
        How large, where it is kept, and what it shares with others.
    training : int
        Number of the network's training, of several from seeds that follow each other. All runs start from the same
        noise.
    """

    def __init__(self, row: Row, study: Study, training: int = 0) -> None:
        self.row, self.study, self.training = row, study, training
        self.name = f"{row.name}-{training}" if training else row.name
        self.sizes = sizes_of(row, study.config.preset)
        self.samples = study.config.samples or self.sizes.samples
        self.folder = study.folder / self.name
        self.network_folder = self.folder / "network"
        # Read or made once, then kept: every run of the row uses it.
        self._plan: TrainPlan | None = None
        self._checkpoint: Checkpoint | None = None
        self._owner: Experiment | None = None
        self._calibrated: set[str] = set()

    def step(self, name: str) -> str:
        """Name, unique in a study, under which a step of the row is forecast, reported and recorded."""
        return f"{self.name}: {name}"

    # --- the network --------------------------------------------------------------------------------------------------

    def load_plan(self) -> TrainPlan:
        """Plan the network's training, once; reads the data set.

        Raises
        ------
        UsageError, PluginError, DataError
            If a setting cannot be used, or the data are not there.
        """
        if self._plan is None:
            self._plan = prepare_training(self._training_config(), access_within(self.study.access, self.study.memory))
        return self._plan

    def _training_config(self) -> TrainConfig:
        config, sizes = self.study.config, self.sizes
        is_own = config.dataset is None or config.dataset == self.row.dataset
        settings = {
            "network": self.row.network,
            "dataset": config.dataset or self.row.dataset,
            "dataset_options": {**(sizes.dataset_options if is_own else {}), **config.dataset_options},
            "network_options": {**sizes.network_options, **config.network_options},
            **sizes.training,
            "seed": config.seed + self.training,
            "device": config.device,
            "precision": config.precision,
        }
        return TrainConfig.parse(settings if config.epochs is None else {**settings, "epochs": config.epochs}, "train")

    def load_dataset(self) -> DataSet:
        """Give the training set, read once."""
        return self.load_plan().dataset

    def training_job(self) -> TrainingJob:
        """Give the job of the training. Other epochs are refused, because the stored runs belong to that network."""
        return TrainingJob(self.load_plan(), self.network_folder)

    def train(self) -> Checkpoint:
        """Train the network, or finish its training.

        Raises
        ------
        ConfigMismatch
            If the folder holds another network, which is left as it is.
        """
        if self._checkpoint is None:
            step = self.step("train")
            checkpoint: Checkpoint = self.study.execute(step, self.training_job())
            self.study.records[step] = {**checkpoint.description, "weights_fingerprint": checkpoint.fingerprint()}
            self._checkpoint = checkpoint
        return self._checkpoint

    # --- the scales ---------------------------------------------------------------------------------------------------

    def scales_owner(self) -> Experiment:
        """Give the experiment whose calibrated scales are used: this one, or that of the row which the row names.

        The other one has the same settings but for options of the network.
        """
        if self.row.scales_of == self.row.name:
            return self
        if self._owner is None:
            config = self.study.config.model_copy(update={"network_options": {}})
            self._owner = Experiment(row_named(self.row.scales_of), replace(self.study, config=config))
        return self._owner

    def scales_file(self, score: str = "els") -> Path:
        """Give the file of the scales that a theory uses, of this row's network."""
        return self.folder / scales_name(score)

    def calibration_step(self, score: str = "els") -> str:
        """Name of the step that calibrates the scales which a theory uses."""
        theory = CALIBRATED[score]
        return self.step("calibrate" if theory == "els" else f"calibrate {theory}")

    def calibration_job(self, score: str = "els", file: Path | None = None, **options: Any) -> FileJob:
        """Give the job of a calibration by the trained network, from other noise than what is compared.

        With `options` of the theory other than those that fit the network it is kept in another `file`.
        """
        config = self.study.config
        settings = CalibrationConfig(
            checkpoint=str(self.network_folder),
            score=CALIBRATED[score],
            score_options=options,
            samples=config.calibration_samples or self.sizes.calibration_samples,
            seed=config.seed + 1,
            device=config.device,
        )
        plan = prepare_calibration(settings, self.study.access, memory=self.study.memory, dataset=self.load_dataset())
        return job_of(plan, file or self.scales_file(score))

    def calibrate(self, score: str = "els") -> Path:
        """Calibrate the scales that a theory uses, as far as that has not been done, and draw them; gives their file.

        Raises
        ------
        ConfigMismatch
            If others are there, or those of another network.
        """
        if self.scales_owner() is not self:
            return self.scales_owner().calibrate(score)
        file, step = self.scales_file(score), self.calibration_step(score)
        if step not in self._calibrated:
            self.train()
            with self.study.execute(step, self.calibration_job(score)) as calibration:
                save_figure(draw_scales(calibration), file.with_suffix(".png"))
                self.study.records[step] = record(calibration.attrs)
            self._calibrated.add(step)
        return file

    # --- the runs -----------------------------------------------------------------------------------------------------

    def network_runs(self) -> NetworkRuns:
        """Give the runs of the row's network, which need not be trained yet."""
        return runs_of_training(self.load_plan().config, self.network_folder)

    def run_config(self, score: str, scales: str | None = None, **options: Any) -> RunConfig:
        """Configure a run from the noise and labels that all runs of the row start from.

        Parameters
        ----------
        score : str
            A theory, or NETWORK for the trained network.
        scales : str, optional
            Its scales, for those of `CALIBRATED`.
        **options
            Of a theory; its boundary is the network's padding, unless it is given.
        """
        config, runs = self.study.config, self.network_runs()
        shared: dict[str, Any] = {"samples": self.samples, "seed": config.seed, "device": config.device}
        if score == NETWORK:
            return runs.own(steps=self.sizes.network_steps, **shared)
        return runs.beside(
            score=score,
            score_options={**runs.boundary_for(score), **options},
            scales=scales if score in CALIBRATED else None,
            steps=THEORY_STEPS,
            **shared,
        )

    def calibrated_config(self, score: str) -> RunConfig:
        """Configure a run at the calibrated scales, which need not be there yet."""
        return self.run_config(score, str(self.scales_owner().scales_file(score)) if score in CALIBRATED else None)

    def run_job(self, stem: str, config: RunConfig) -> FileJob:
        """Give the job of a run that is kept as `stem`.nc in the row's folder."""
        return self.study.run_job(config, self.folder / f"{stem}.nc", self.load_dataset())

    def run_seconds(self, config: RunConfig) -> float | None:
        """Predict the seconds of a run on the row's data; None if its score model is not a machine."""
        return self.study.run_seconds(config, self.load_dataset())

    def run(self, score: str) -> xr.Dataset:
        """Run a theory at the calibrated scales, or the network, after what it depends on; gives the trajectory."""
        if score == NETWORK:
            self.train()
        elif score in CALIBRATED:
            self.calibrate(score)
        return self.execute(score, self.calibrated_config(score))

    def execute(self, stem: str, config: RunConfig) -> xr.Dataset:
        """Run a configuration on the row's data, as far as that has not been done, and open `stem`.nc."""
        return self.study.run(self.step(stem), config, self.folder / f"{stem}.nc", self.load_dataset())

    # --- the comparison -----------------------------------------------------------------------------------------------

    def compare(self, theories: Sequence[str] = PAPER_SCALED) -> dict[str, xr.Dataset]:
        """Compare theories with the network; keeps the comparisons and their pictures.

        Returns
        -------
        dict
            The comparisons by theory; the baseline of ELS and LS is IS, and that of soft ELS is ELS.
        """
        comparisons = {}
        with ExitStack() as stack:
            needed = dict.fromkeys((NETWORK, *(BASELINES[theory] for theory in theories), *theories))
            runs = {score: stack.enter_context(self.run(score)) for score in needed}
            for theory in theories:
                progress, baseline = prefixed(self.study.progress, self.step(f"compare {theory}")), BASELINES[theory]
                comparison = compare(
                    runs[theory], runs[NETWORK], runs[baseline], dataset=self.load_dataset(), progress=progress
                ).assign_attrs(training=as_attribute(dict(self.train().description)))
                names = {"run": THEORIES[theory], "reference": self.row.title, "baseline": THEORIES[baseline]}
                writers = {
                    self.folder / f"comparison-{theory}.nc": partial(store, comparison),
                    self.folder / f"images-{theory}.png": partial(write_figure, draw_side_by_side(comparison, names)),
                    self.folder / f"agreement-{theory}.png": partial(write_figure, draw_agreement(comparison, names)),
                }
                write_together(writers, writers)
                comparisons[theory] = comparison
        return comparisons
