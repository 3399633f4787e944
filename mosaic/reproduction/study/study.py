"""What the steps of a reproduction share: sizes, folder, data, memory, progress, and how each result was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.disk.atomic import make_folder
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.progress import Progress, prefixed, silent
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.run.config import RunConfig
from mosaic.run.estimate import predict_seconds
from mosaic.run.job import job_of
from mosaic.run.plan import Plan
from mosaic.run.prepare import prepare
from mosaic.run.score import Score
from mosaic.storage.job import FileJob, Job
from mosaic.storage.made_by import record

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """What the steps of a reproduction share.

    Attributes
    ----------
    config : ReproduceConfig
        What is reproduced, and how large.
    folder : Path
        Where everything is kept.
    access : DataAccess
        Where data may be found.
    memory : str, optional
        What a run may take, such as 2G.
    progress : Progress
        Called as a step's work proceeds; its notes start with the step's name.
    network : Score or None
        The network, with its data, of a study that trains none.
    records : dict
        What each step was made by, by its name; filled as steps are executed.
    """

    config: ReproduceConfig
    folder: Path
    access: DataAccess = field(default_factory=DataAccess)
    memory: str | float | None = None
    progress: Progress = silent
    network: Score | None = None
    records: dict[str, Any] = field(default_factory=dict)

    def execute(self, step: str, job: Job) -> Any:
        """Execute or resume a step's job, and give its result."""
        make_folder(job.place.parent)
        return job.execute(resume=True, progress=prefixed(self.progress, step))

    def prepare(self, config: RunConfig, dataset: DataSet | None = None) -> Plan:
        """Prepare a run; its data set is read unless it is given."""
        return prepare(config, self.access, dataset=dataset, memory=self.memory, is_stored=True)

    def run_job(self, config: RunConfig, path: Path, dataset: DataSet | None = None) -> FileJob:
        """Give the job of a run that is kept at `path`."""
        return job_of(self.prepare(config, dataset), path)

    def run_seconds(self, config: RunConfig, dataset: DataSet | None = None) -> float | None:
        """Predict the seconds of a run; None if its score model is not a machine."""
        return predict_seconds(self.prepare(config, dataset))

    def run(self, step: str, config: RunConfig, path: Path, dataset: DataSet | None = None) -> xr.Dataset:
        """Run a configuration, as far as that has not been done, and open the trajectory at `path`."""
        trajectory: xr.Dataset = self.execute(step, self.run_job(config, path, dataset))
        self.records[step] = record(trajectory.attrs)
        return trajectory
