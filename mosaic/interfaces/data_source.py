"""Data-set plugins: what reads a training set, from where, and how much of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from mosaic.device import physical_memory, standard_torch
from mosaic.errors import DataError
from mosaic.interfaces.dataset import DataSet, balanced_subset
from mosaic.interfaces.options import Options as PluginOptions

__all__ = ["DataAccess", "DataSetOptions", "DataSource"]


class DataSetOptions(PluginOptions):
    """Options that every data set has; a data source's own `Options` derive from this."""

    limit: int | None = Field(
        None, ge=1, description="Use a seeded, class-balanced subset of this many training images."
    )
    limit_seed: int = Field(0, ge=0, description="Seed of the subset that `limit` takes.")

    @model_validator(mode="after")
    def _seeds_a_subset(self) -> Self:
        if self.limit is None and self.limit_seed:
            raise ValueError(f"limit_seed {self.limit_seed} would not be used without limit; leave it out")
        return self


@dataclass(frozen=True)
class DataAccess:
    """Where data files may be looked for, and whether they may be downloaded.

    Attributes
    ----------
    root : Path or None
        Folder that data sets look for their files in; None for each data set's own default.
    download : bool
        Whether a data set may fetch files that are not there.
    memory : int or None
        Bytes that reading may take; None for what the machine has.
    """

    root: Path | None = None
    download: bool = False
    memory: int | None = None


class DataSource(ABC):
    """Interface of a data-set plugin; subclass it, give it a `name` and register it.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[DataSetOptions]
        The source's options; `limit` and `limit_seed` are served by the core.
    """

    name: ClassVar[str] = ""
    Options: ClassVar[type[DataSetOptions]] = DataSetOptions

    def __init__(self, options: DataSetOptions | None = None, access: DataAccess | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()
        self.access = access if access is not None else DataAccess()

    @abstractmethod
    def read(self) -> DataSet:
        """Read the whole training set.

        Raises
        ------
        DataError
            If it is missing (name the folder and the files looked for, and what to do) or cannot be used.
        """

    def available(self) -> str | None:
        """Say, without reading it, why the set is not available now; None when it is."""
        return None

    def check_memory(self, images: int, shape: Sequence[int], more: int = 0) -> None:
        """Refuse to read more than `access.memory`; call it in `read`, with what the files' headers say.

        Parameters
        ----------
        images : int
            How many images will be read. They count twice, as float32: reading and checking them needs a copy.
        shape : sequence of int
            Shape of one image.
        more : int
            Bytes that reading takes besides.

        Raises
        ------
        DataError
            If there is not so much memory.
        """
        given = self.access.memory
        allowed = physical_memory() if given is None else given
        each = 2 * 4 * math.prod(shape)
        need = images * each + more
        if allowed is not None and need > allowed:
            there = "this machine has" if given is None else "`memory` leaves for data"
            fitting = max(0, allowed - more) // each
            allow = "" if given is None else ", or allow more"
            raise DataError(
                f"Data set '{self.name}': reading {images} images of {' x '.join(map(str, shape))} takes "
                f"{-(-need // 2**20):,} MiB, more than the {allowed // 2**20:,} MiB that {there}. "
                f"At most {fitting} fit: read fewer (`dataset.limit`, or the set's own options){allow}."
            )

    @standard_torch()
    def load(self) -> DataSet:
        """Read the training set and take the subset that `limit` asks for.

        Raises
        ------
        DataError
            If it is missing or cannot be used.
        """
        dataset = self.read()
        limit = self.options.limit
        if limit is None or limit >= len(dataset):
            return dataset
        return dataset.select(balanced_subset(len(dataset), limit, self.options.limit_seed, dataset.labels))
