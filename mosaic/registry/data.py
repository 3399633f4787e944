"""Data sets by name: where their files may be, and loading them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from mosaic.errors import no_exit
from mosaic.interfaces.data_source import DataAccess, DataSource
from mosaic.interfaces.dataset import DataSet
from mosaic.registry.loading import registry

__all__ = ["data_access", "data_source", "load_dataset", "read_source"]


def data_access(data_dir: str | PathLike[str] | None, download: bool = False) -> DataAccess:
    """Say where data may be found: `data_dir`, else MOSAIC_DATA, else each data set's own default."""
    root = data_dir or os.environ.get("MOSAIC_DATA") or None
    return DataAccess(None if root is None else Path(root), download)


def data_source(name: str, options: Mapping[str, Any], access: DataAccess) -> DataSource:
    """Make the data source that is registered under a name, with these options; nothing is read yet.

    Raises
    ------
    UsageError, PluginError
        If an option cannot be used, or nothing is registered under this name.
    """
    source: DataSource = registry().make("dataset", name, options, access)
    return source


def load_dataset(name: str, options: Mapping[str, Any], access: DataAccess) -> DataSet:
    """Load the data set that is registered under a name, with these options.

    Raises
    ------
    UsageError, PluginError, DataError
        If an option cannot be used, nothing is registered under this name, or the data are not available.
    """
    return read_source(data_source(name, options, access))


def read_source(source: DataSource) -> DataSet:
    """Read a data source; the data set knows the options that it was loaded with.

    Raises
    ------
    DataError, PluginError
        If the data are not available, or the source ends the program.
    """
    with no_exit(f"Data set '{source.name}'"):
        return source.load().as_loaded(source.options.model_dump(mode="json"))
