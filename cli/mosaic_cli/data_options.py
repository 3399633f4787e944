"""Options that several commands share: where data are, and what memory may be taken."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["data_dir", "download", "memory"]

data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of data files.  [default: $MOSAIC_DATA]"
)
download = click.option("--download", is_flag=True, help="Download a torchvision data set that is not there.")
memory = click.option(
    "--memory",
    metavar="SIZE",
    envvar="MOSAIC_MEMORY",
    help="What may be taken, such as 2G (powers of 1024): less means fewer threads, and the same numbers.  "
    "[default: a quarter of what the machine has]",
)
