"""Metrics: pure functions of arrays that give one value per sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor

from mosaic.errors import UsageError
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.options import Options as PluginOptions

__all__ = ["Metric"]


class Metric(ABC):
    """Interface of a metric plugin; subclass it, give it a `name` and register it.

    A subclass must define `name`, `range`, `higher_is_better` and `__call__`; the rest has defaults.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[mosaic.Options]
        The metric's options.
    references : tuple of str
        BibTeX entries of what it computes; `mosaic cite` prints them for results that used it.
    range : (float, float)
        Lowest and highest value it can take.
    higher_is_better : bool
        Whether a larger value means closer agreement, or a better image.
    compares : bool
        Whether it compares images with a reference; else it is a property of the images (and the training set).
    needs_dataset : bool
        Whether it needs the training set, `self.dataset`.
    statistic : {"median", "mean", "share"}
        What sums up its values over samples; `share` where they are 1 or 0.
    by_default : bool
        Whether a comparison uses it by default. A subclass does not inherit this; it states its own.

    Raises
    ------
    UsageError
        If it needs a training set and is given none.
    """

    name: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[PluginOptions]] = PluginOptions
    range: ClassVar[tuple[float, float]]
    higher_is_better: ClassVar[bool]
    compares: ClassVar[bool] = True
    needs_dataset: ClassVar[bool] = False
    statistic: ClassVar[Literal["median", "mean", "share"]] = "median"
    by_default: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "by_default" not in vars(cls):
            cls.by_default = False

    def __init__(self, options: PluginOptions | None = None, dataset: DataSet | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()
        if self.needs_dataset and dataset is None:
            raise UsageError(f"Metric '{self.name}' needs the training set.")
        self.dataset: Any = dataset

    @property
    def chance(self) -> float | None:
        """The mean that chance alone would give; None if no such level is defined."""
        return None

    @abstractmethod
    def __call__(self, images: Tensor, reference: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Give one value per sample.

        Parameters
        ----------
        images : Tensor (B, C, H, W)
            Images, not clamped.
        reference : Tensor (B, C, H, W), optional
            What they are compared with, where the metric `compares`.
        labels : Tensor (B,), int64, optional
            Class that each sample was conditioned on; -1 for none.

        Returns
        -------
        Tensor (B,), float64
            NaN where the metric is undefined.
        """
