"""What a reproduction is: something to measure into a data set and to draw, made of experiments and runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr

from mosaic.config import RunConfig
from mosaic.dataset import DataAccess, DataSet
from mosaic.errors import UsageError
from mosaic.estimate import predict_seconds
from mosaic.plan import prepare
from mosaic.reproduction.duration import Forecast, forecast, forecast_step
from mosaic.reproduction.experiment import Experiment
from mosaic.reproduction.kept import Report, has_run, kept_run, record_of
from mosaic.reproduction.rows import ReproduceConfig, Row, row_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Study", "Target"]


@dataclass(frozen=True)
class Study:
    """What the reproductions of one preset share.

    Attributes
    ----------
    config : ReproduceConfig
        How large.
    folder : Path
        Where everything is kept.
    access : DataAccess
        Where data may be found.
    memory : str, optional
        Budget of the machines.
    report : callable
        Told what is going on.
    records : dict
        What was trained, calibrated and run for a target, and how, by the names of the steps.
    """

    config: ReproduceConfig
    folder: Path
    access: DataAccess
    memory: str | None
    report: Report
    records: dict[str, Any] = field(default_factory=dict)

    def experiment(self, row: str) -> Experiment:
        """The experiment of a row of table 2."""
        return self.experiment_of(row_named(row))

    def experiment_of(self, row: Row) -> Experiment:
        """The experiment of any row."""
        return Experiment(row, self.config, self.folder, self.access, self.memory, self.report, self.records)

    def run(self, step: str, config: RunConfig, out: Path, dataset: DataSet | None = None) -> xr.Dataset:
        """Run a configuration; or reuse, or go on with, its run."""
        found = kept_run(step, config, out, self.access, self.memory, self.report, dataset)
        self.records[step] = record_of(found)
        return found

    def forecast_run(self, step: str, config: RunConfig, out: Path, dataset: DataSet | None = None) -> Forecast:
        """Tell how long a machine's run will take.

        Raises
        ------
        BegunOtherwise
            If another is there.
        """

        def seconds() -> float:
            return predict_seconds(prepare(config, self.access, dataset=dataset)) or 0.0

        return forecast_step(step, out, lambda: has_run(config, out, self.access, dataset), seconds)


class Target(ABC):
    """A table or a figure.

    Attributes
    ----------
    name : str
        The name on the command line.
    default_rows : tuple of str
        Rows of table 2 that it is made from.
    most_rows : int or None
        How many rows it can be made from; None for any number.

    Raises
    ------
    UsageError
        If a row is unknown, or more are given than it can be made from.
    """

    name: ClassVar[str]
    default_rows: ClassVar[tuple[str, ...]] = ()
    most_rows: ClassVar[int | None] = None

    def __init__(self, study: Study, rows: tuple[str, ...]) -> None:
        self.study, self.rows, self.asked = study, rows or self.default_rows, bool(rows)
        if self.most_rows is not None and len(rows) > self.most_rows:
            allowed = f"takes at most {self.most_rows} --row" if self.most_rows else "takes no --row"
            raise UsageError(f"'{self.name}' {allowed}, not {', '.join(rows)}.")
        for row in self.rows:
            row_named(row)

    def forecast(self) -> list[Forecast]:
        """Tell what there is to do, and how long it will take.

        Raises
        ------
        DataError
            If data are not there.
        """
        return [step for row in self.rows for step in forecast(self.study.experiment(row))]

    @abstractmethod
    def measure(self) -> xr.Dataset:
        """Compute what is to be shown; what is there already is not computed again."""

    def notes(self) -> list[str]:
        """Tell beforehand what will be left out, and why."""
        return []

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell the numbers that matter, in sentences."""
        return []

    @abstractmethod
    def draw(self, found: xr.Dataset) -> Figure:
        """Draw what `measure` gave."""
