"""A calibration that is ready to start."""

from __future__ import annotations

from dataclasses import dataclass

from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.score import ScoreModel
from mosaic.run.plan import Plan
from mosaic.run.work import step_work, unit_of
from mosaic.storage.output import Output

__all__ = ["CalibrationPlan"]


@dataclass(frozen=True)
class CalibrationPlan:
    """A calibration, resolved and checked.

    Attributes
    ----------
    config : CalibrationConfig
        With every default filled in.
    network : Plan
        The network's run.
    machine : ScoreModel
        The score model whose scales are chosen, on the same data.
    sizes : tuple of float
        The scales to choose from, rising.
    threads : int or None
        Blocks of candidates that the machine works on at a time, at most; None for no limit.
    output : Output or None
        Where the calibration is to be kept; None for in memory.
    notes : tuple of str
        What the user should know before it starts.
    access : DataAccess or None
        Where another process finds what the configuration names; None where objects were given in their place.
    """

    config: CalibrationConfig
    network: Plan
    machine: ScoreModel
    sizes: tuple[float, ...]
    threads: int | None = None
    output: Output | None = None
    notes: tuple[str, ...] = ()
    access: DataAccess | None = None

    def work(self, batch: range) -> list[float]:
        """Work of each size at one step of a batch, in `unit`."""
        return step_work(self.machine, self.sizes, self.network.labels[batch.start : batch.stop])

    @property
    def unit(self) -> str:
        """What `work` counts."""
        return unit_of(self.machine, self.sizes)
