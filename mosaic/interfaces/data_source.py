"""Data-set plugins: what reads a training set, from where, and how much of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor

from mosaic.device import physical_memory, standard_torch
from mosaic.errors import DataError
from mosaic.interfaces.dataset import DataSet, balanced_subset
from mosaic.interfaces.options import Options as PluginOptions

__all__ = ["DataAccess", "DataSetOptions", "DataSource"]


class DataSetOptions(PluginOptions):
    """Options that every data set has; a data source's own `Options` derive from this.

    Attributes
    ----------
    later : tuple of str
        Options that are recorded only if they are not at their default, so that what was stored before there were any
        is still of the same data.
    """

    later: ClassVar[tuple[str, ...]] = ("skip",)

    limit: int | None = Field(
        None, ge=1, description="Use a seeded, class-balanced subset of this many training images."
    )
    limit_seed: int = Field(0, ge=0, description="Seed of the subset that `limit` takes.")
    skip: int = Field(
        0,
        ge=0,
        description="Leave out the subset that `limit` would take, were it this; then take `limit` of the rest.",
    )

    @model_validator(mode="after")
    def _seeds_a_subset(self) -> Self:
        if self.limit is None and self.skip == 0 and self.limit_seed:
            raise ValueError(f"limit_seed {self.limit_seed} would not be used without limit or skip; leave it out")
        return self

    @model_serializer(mode="wrap")
    def _recorded(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields, values = type(self).model_fields, handler(self)
        usual = [name for name in self.later if getattr(self, name) == fields[name].default]
        return {name: value for name, value in values.items() if name not in usual}


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
        Bytes that images in memory may take while they are read. Those that take more are read in pieces, where their
        source can do that. None for what the machine has, and for a quarter of it where they can.
    pieces : bool
        Whether to read in pieces what could be in memory, too, where the source can do that.
    """

    root: Path | None = None
    download: bool = False
    memory: int | None = None
    pieces: bool = False


class DataSource(ABC):
    """Interface of a data-set plugin; subclass it, give it a `name` and register it.

    Attributes
    ----------
    name : str
        The name on the command line.
    Options : type[DataSetOptions]
        The source's options; `limit`, `limit_seed` and `skip` are served by the core.
    references : tuple of str
        BibTeX entries of what it computes; `mosaic cite` prints them for results that used it.
    reads_subset : bool
        Whether `read` reads only the images that `choose` gives; else the core takes them from the whole set.
    """

    name: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[DataSetOptions]] = DataSetOptions
    reads_subset: ClassVar[bool] = False

    def __init__(self, options: DataSetOptions | None = None, access: DataAccess | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()
        self.access = access if access is not None else DataAccess()

    @abstractmethod
    def read(self) -> DataSet:
        """Read the whole training set, or with `reads_subset` the images that `choose` gives.

        Raises
        ------
        DataError
            If it is missing (name the folder and the files looked for, and what to do) or cannot be used.
        """

    def available(self) -> str | None:
        """Say, without reading it, why the set is not available now; None when it is."""
        return None

    def kept(self, count: int) -> int:
        """How many of `count` images `limit` and `skip` leave.

        Raises
        ------
        DataError
            If they leave none.
        """
        limit, skip = self.options.limit, self.options.skip
        if skip >= count > 0:
            raise DataError(
                f"Data set '{self.name}': `dataset.skip` {skip} leaves none of its {count} images; leave out at most "
                f"{count - 1}."
            )
        left: int = max(0, count - skip)
        return left if limit is None else min(left, int(limit))

    def choose(self, count: int, labels: Tensor | None) -> Tensor:
        """Give the indices (int64, rising) of the images to use: all of `count`, or what `limit` and `skip` ask for."""
        options = self.options
        return balanced_subset(count, self.kept(count), options.limit_seed, labels, options.skip)

    def fits(self, images: int, shape: Sequence[int], more: int = 0) -> bool:
        """Whether images can be read into memory; arguments as for `check_memory`, from files' headers.

        Those that cannot are given as an `ImageSource`, which is read in pieces, with `pieces_note`.
        """
        allowed = self._room()
        if self.access.pieces and images > 0:
            return False
        return allowed is None or 8 * images * math.prod(shape) + more <= allowed

    def pieces_note(self, images: int, shape: Sequence[int]) -> str:
        """Say that images are read in pieces, as a note of the data set."""
        need = 8 * images * math.prod(shape)
        return (
            f"{images} images of {' x '.join(map(str, shape))} would take {-(-need // 2**20):,} MiB to read, more than "
            "there is for them: they are read in pieces. No number depends on it."
        )

    def _room(self) -> int | None:
        """Bytes for images that could be read in pieces: what is allowed, or a quarter of the machine's memory."""
        physical = physical_memory()
        return physical // 4 if self.access.memory is None and physical is not None else self.access.memory

    def _allowed(self) -> int | None:
        return physical_memory() if self.access.memory is None else self.access.memory

    def check_memory(self, images: int, shape: Sequence[int], more: int = 0) -> None:
        """Refuse to read more than `access.memory`; call it in `read`, with what the files' headers say.

        It is for what cannot be read in pieces; what can asks `fits`.

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
        given, allowed = self.access.memory, self._allowed()
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
        """Read the training set and take the subset that `limit` and `skip` ask for.

        Raises
        ------
        DataError
            If it is missing or cannot be used.
        """
        dataset = self.read()
        if self.reads_subset or self.kept(len(dataset)) == len(dataset):
            return dataset
        return dataset.select(self.choose(len(dataset), dataset.labels))
