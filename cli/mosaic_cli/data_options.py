"""Options that several commands share: paths, where data are, what memory may be taken, and what computes."""

from __future__ import annotations

from os import PathLike, fsdecode, fspath
from pathlib import Path

import click

from mosaic.errors import UsageError

__all__ = ["PATH", "data_dir", "download", "memory", "scheduler"]


class _Place(click.Path):
    """A path; an empty text would be the current folder."""

    def convert(self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if param is not None and not fspath(value):
            name = max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name
            raise UsageError(f"{name} is empty; leave it out, or say what it is.")
        return Path(fsdecode(super().convert(value, param, ctx)))


PATH = _Place(path_type=Path)

data_dir = click.option("--data-dir", type=PATH, help="Folder of data files.  [default: $MOSAIC_DATA]")
download = click.option("--download", is_flag=True, help="Download a torchvision data set that is not there.")
memory = click.option(
    "--memory",
    metavar="SIZE",
    envvar="MOSAIC_MEMORY",
    help="What may be taken, such as 2G (powers of 1024): less means fewer threads, or images read in pieces, and the "
    "same numbers.  "
    "[default: a quarter of what the machine has]",
)
scheduler = click.option(
    "--scheduler",
    metavar="ADDRESS",
    envvar="DASK_SCHEDULER_ADDRESS",
    help="Dask scheduler whose workers compute, with the same numbers; local:N starts N processes here.  "
    "[default: $DASK_SCHEDULER_ADDRESS, else this process]",
)
