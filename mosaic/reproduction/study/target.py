"""What a reproduction is: something to measure into a data set and to draw, made of experiments and runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import xarray as xr

from mosaic.errors import UsageError
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import row_named
from mosaic.reproduction.study.steps import steps_of
from mosaic.reproduction.study.study import Study
from mosaic.run.settings import refuse_unused

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Target"]


class Target(ABC):
    """A table or a figure.

    Parameters
    ----------
    study : Study
        How large, and from which rows of table 2.

    Attributes
    ----------
    name : str
        The name it is asked for by.
    default_rows : tuple of str
        Rows of table 2 that it is made from.
    most_rows : int or None
        How many rows it can be made from; None for any number.
    takes_network : bool
        Whether it can be made from a network that is there.
    takes_trainings : bool
        Whether it can train each network several times.

    Raises
    ------
    UsageError
        If a row is unknown, or more are given than it can be made from; or a network that it cannot be made from, or
        settings of a training beside it; or a number of trainings that it cannot use.
    """

    name: ClassVar[str]
    default_rows: ClassVar[tuple[str, ...]] = ()
    most_rows: ClassVar[int | None] = None
    takes_network: ClassVar[bool] = False
    takes_trainings: ClassVar[bool] = False

    def __init__(self, study: Study) -> None:
        asked = tuple(dict.fromkeys(name.strip() for name in (study.config.rows or "").split(",") if name.strip()))
        if self.most_rows is not None and len(asked) > self.most_rows:
            allowed = f"takes at most {self.most_rows} of `rows`" if self.most_rows else "takes no `rows`"
            raise UsageError(f"'{self.name}' {allowed}, not {', '.join(asked)}.")
        self.study, self.rows, self.asked = study, asked or self.default_rows, bool(asked)
        for row in self.rows:
            row_named(row)
        if study.config.trainings is not None and not self.takes_trainings:
            raise UsageError(f"'{self.name}' trains each network once; `trainings` would not be used: leave it out.")
        if study.network is not None:
            if not self.takes_network:
                raise UsageError(f"'{self.name}' trains its networks; `network` would not be used: leave it out.")
            used = {"preset", "network", "dataset", "dataset_options", "calibration_samples", "seed", "device"}
            given = {name: getattr(study.config, name) for name in study.config.model_fields_set - used}
            refuse_unused(given, "`network` is there, and nothing is trained or run")

    def experiment(self, row: str) -> Experiment:
        """Give the experiment of a row of table 2."""
        return Experiment(row_named(row), self.study)

    def steps(self) -> Iterable[Step]:
        """Give the steps it is made of, in the order in which they are executed.

        Raises
        ------
        DataError
            If data are not there.
        """
        return (step for row in self.rows for step in steps_of(self.experiment(row)))

    @abstractmethod
    def measure(self) -> xr.Dataset:
        """Compute what is to be shown; finished steps are not computed again."""

    def notes(self) -> list[str]:
        """Say, before any work, what will be left out and why."""
        return []

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say the numbers that matter, in sentences."""
        return []

    @abstractmethod
    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw the data set that `measure` gave; nothing is computed again."""
