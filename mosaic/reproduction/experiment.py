"""One row's experiment: train, calibrate, run theories and network from the same noise, compare.

Every step is that of the command of its name, keeps its own place in the row's folder, and is gone on with or reused
when asked for again.

References: Kamb & Ganguli 2025, sec. 5 and app. C.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.calibration import execute_calibration, is_calibrated
from mosaic.calibration_picture import draw_scales
from mosaic.calibration_plan import CalibrationPlan, prepare_calibration
from mosaic.checkpoint import DESCRIPTION, TRAINING, WEIGHTS, Checkpoint, load_checkpoint
from mosaic.comparison_picture import draw_agreement, draw_side_by_side
from mosaic.config import RunConfig
from mosaic.dataset import DataAccess, DataSet
from mosaic.picture import save_figure
from mosaic.reproduction.kept import Report, has_run, kept_run, no_report, record_of
from mosaic.reproduction.rows import THEORY_STEPS, ReproduceConfig, Row, row_named, sizes_of
from mosaic.run_comparison import compare
from mosaic.sitting import TrainProgress
from mosaic.store import RunStore, write_netcdf
from mosaic.train_plan import TrainPlan, describe_training, prepare_training
from mosaic.trainer import check_same, execute_training

__all__ = ["Experiment"]


class Experiment:
    """The experiment of a row.

    Parameters
    ----------
    row : Row
        Which.
    config : ReproduceConfig
        How large.
    root : Path
        Folder of the preset; the row has a folder of its name in it.
    access : DataAccess
        Where data may be found.
    memory : str, optional
        Budget of the machines, such as 2G.
    report : callable
        Told what is going on.
    records : dict, optional
        Given, for each step by its name, what was trained, calibrated or run, and how.
    """

    def __init__(
        self,
        row: Row,
        config: ReproduceConfig,
        root: Path,
        access: DataAccess,
        memory: str | None = None,
        report: Report = no_report,
        records: dict[str, Any] | None = None,
    ) -> None:
        self.records = {} if records is None else records
        self.row, self.config, self.root, self.access, self.memory = row, config, root, access, memory
        self.report = report
        self.folder = root / row.name
        self.sizes = sizes_of(row, config.preset)
        self.network_folder, self.scales_file = self.folder / "network", self.folder / "scales.nc"

    @property
    def samples(self) -> int:
        """Samples compared."""
        return self.config.samples or self.sizes.samples

    @cached_property
    def training_plan(self) -> TrainPlan:
        """The network's training; reads the data set."""
        own = self.config.dataset is None or self.config.dataset == self.row.dataset
        settings: dict[str, Any] = {
            "network": self.row.network,
            "dataset": self.config.dataset or self.row.dataset,
            "dataset_options": {**(self.sizes.dataset_options if own else {}), **self.config.dataset_options},
            "network_options": {**self.sizes.network_options, **self.config.network_options},
            **self.sizes.training,
            "seed": self.config.seed,
            "device": self.config.device,
            "precision": self.config.precision,
        }
        if self.config.epochs is not None:
            settings["epochs"] = self.config.epochs
        return prepare_training([settings], self.access)

    @property
    def dataset(self) -> DataSet:
        """The training set."""
        return self.training_plan.dataset

    def check_network(self) -> None:
        """Refuse a network in the row's folder that is of another training, also of more or fewer epochs.

        Raises
        ------
        BegunOtherwise
            Before it is changed: runs and scales beside it are of that network.
        """
        if (self.network_folder / DESCRIPTION).is_file():
            check_same(load_checkpoint(self.network_folder), describe_training(self.training_plan))

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The trained network; trains it, or goes on with it, where it is not."""
        self.check_network()
        self.folder.mkdir(parents=True, exist_ok=True)

        def report(progress: TrainProgress) -> None:
            words = f"epoch {progress.epoch:.1f}, loss {progress.loss:.4f}, {progress.images_per_second:.0f} images/s"
            self.report(f"{self.row.name}: train", progress.step / progress.steps, words)

        found = execute_training(self.training_plan, self.network_folder, resume=True, report=report)
        self.records[f"{self.row.name}: train"] = {**found.description, "weights_fingerprint": found.fingerprint}
        return found

    @property
    def calibration_settings(self) -> dict[str, Any]:
        """Settings of the calibration of ELS by the trained network."""
        return {
            "samples": self.config.calibration_samples or self.sizes.calibration_samples,
            "seed": self.config.seed + 1,  # other noise than what is compared
            "device": self.config.device,
        }

    @cached_property
    def scales(self) -> Path:
        """File of the scales; calibrates them where they are not; those of another row where the row says so."""
        if self.scales_owner is not self:
            return self.scales_owner.scales
        _ = self.checkpoint
        plan = self._calibration_plan()
        batches = len(plan.network.batches)

        def progress(batch: int, done: int, total: int) -> None:
            words = f"batch {batch + 1}/{batches}, comparison {done}/{total}"
            self.report(f"{self.row.name}: calibrate", (batch + done / total) / batches, words)

        with execute_calibration(plan, self.scales_file, resume=True, progress=progress) as found:
            save_figure(draw_scales(found), self.scales_file.with_suffix(".png"))
            self.records[f"{self.row.name}: calibrate"] = record_of(found)
        return self.scales_file

    def _calibration_plan(self) -> CalibrationPlan:
        settings = {"checkpoint": str(self.network_folder), **self.calibration_settings}
        return prepare_calibration([settings], self.access, self.memory, self.dataset)

    @property
    def training_left(self) -> int:
        """Training steps still to do.

        Raises
        ------
        BegunOtherwise
            As `check_network`.
        """
        self.check_network()
        plan, folder = self.training_plan, self.network_folder
        per_epoch = -(-len(plan.dataset) // plan.config.batch_size)
        begun = all((folder / name).is_file() for name in (WEIGHTS, TRAINING))
        done = load_checkpoint(folder).progress["step"] if begun else 0
        return max(0, plan.config.epochs * per_epoch - int(done))

    @cached_property
    def has_scales(self) -> bool:
        """Whether the scales are there, by the network as it is to be trained.

        Raises
        ------
        BegunOtherwise
            If others are.
        """
        if self.scales_owner is not self:
            return self.scales_owner.has_scales
        there = RunStore(self.scales_file).has_begun() and not self.training_left
        return there and is_calibrated(self._calibration_plan(), self.scales_file)

    @cached_property
    def scales_owner(self) -> Experiment:
        """The experiment whose calibrated scales are used."""
        return self if self.row.scales_of == self.row.name else self.sibling(self.row.scales_of)

    def sibling(self, name: str) -> Experiment:
        """The experiment of another row, of the same settings but for options of the network."""
        config = self.config.model_copy(update={"network_options": {}})
        row = row_named(name)
        return Experiment(row, config, self.root, self.access, self.memory, self.report, self.records)

    def run_config(self, score: str, scales: str | None = None) -> RunConfig:
        """Configuration of a run from the noise and labels that all runs of the row start from."""
        options = {"boundary": self.row.padding} if score in ("els", "ls") else {}
        if score == "network":
            options = {"checkpoint": str(self.network_folder)}
        settings = self.training_plan.config
        return RunConfig(
            score=score,
            score_options=options,
            dataset=settings.dataset,
            dataset_options=settings.dataset_options,
            scales=scales if score in ("els", "ls") else None,
            steps=self.sizes.network_steps if score == "network" else THEORY_STEPS,
            samples=self.samples,
            seed=self.config.seed,
            labels="random" if self.row.conditional else "none",
            device=self.config.device,
        )

    def usual_config(self, score: str) -> RunConfig:
        """Configuration of a run at the calibrated scales, wherever those are to be."""
        return self.run_config(score, str(self.scales_owner.scales_file) if score in ("els", "ls") else None)

    def has_run(self, stem: str, config: RunConfig) -> bool:
        """Tell whether the row's folder has the whole run of a configuration.

        Raises
        ------
        BegunOtherwise
            If it has another under this name.
        """
        return has_run(config, self.folder / f"{stem}.nc", self.access, self.dataset)

    def run(self, score: str) -> xr.Dataset:
        """Run a theory, or the network; or reuse, or go on with, its run."""
        if score == "network":
            _ = self.checkpoint
        elif score in ("els", "ls"):
            _ = self.scales
        return self.execute(score, self.usual_config(score))

    def execute(self, stem: str, config: RunConfig) -> xr.Dataset:
        """Run a configuration on the row's data, into a file of the row's folder; or reuse, or go on with, its run."""
        step, out = f"{self.row.name}: {stem}", self.folder / f"{stem}.nc"
        self.folder.mkdir(parents=True, exist_ok=True)
        found = kept_run(step, config, out, self.access, self.memory, self.report, self.dataset)
        self.records[step] = record_of(found)
        return found

    def compare(self) -> dict[str, xr.Dataset]:
        """Compare ELS and LS with the network, and both with IS; keeps the comparisons and their pictures.

        Returns
        -------
        dict
            The comparisons by theory, `els` and `ls`; the baseline of both is IS.
        """
        runs = {score: self.run(score) for score in ("network", "is", "els", "ls")}
        found = {}
        for theory in ("els", "ls"):
            self.report(f"{self.row.name}: compare {theory}", 0.0, "")
            compared = compare(runs[theory], runs["network"], runs["is"], dataset=self.dataset)
            found[theory] = compared.assign_attrs(training=json.dumps(dict(self.checkpoint.description)))
            write_netcdf(found[theory], self.folder / f"comparison-{theory}.nc")
            shown = [(theory.upper(), runs[theory]), (self.row.title, runs["network"]), ("IS", runs["is"])]
            save_figure(draw_side_by_side(shown, compared), self.folder / f"images-{theory}.png")
            save_figure(draw_agreement(shown, compared), self.folder / f"agreement-{theory}.png")
        for run in runs.values():
            run.close()
        return found
