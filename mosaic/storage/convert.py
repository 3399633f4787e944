"""A stored run copied from one container to another: a netCDF file becomes a Zarr store, or a store a file."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import xarray as xr

from mosaic.containers.access import ENDINGS, is_zarr
from mosaic.containers.regions import create_store, in_regions, write_region, write_rest
from mosaic.disk.atomic import replacing, writing
from mosaic.errors import UsageError
from mosaic.interfaces.arguments import checked
from mosaic.progress import Progress, reporting, silent
from mosaic.storage.files import open_as_written, store, store_joined
from mosaic.storage.output import Output
from mosaic.storage.parts import PartFiles
from mosaic.storage.regions import publish
from mosaic.storage.schema import TRAJECTORY_SCHEMA
from mosaic.storage.trajectory import open_trajectory, sample_blocks

__all__ = ["convert_run", "copy_run"]


@checked()
def convert_run(
    run: str | PathLike[str],
    *,
    out: str | PathLike[str],
    overwrite: bool = False,
    progress: Progress | bool | None = True,
) -> xr.Dataset:
    """Copy a stored run into the other container, as `mosaic convert` does: netCDF (.nc) to Zarr (.zarr), or back.

    Some samples are in memory at a time. Values are the same to the bit, and so are attributes.

    Parameters
    ----------
    run : path
        The stored run.
    out : path
        Where to; its ending says what it becomes.
    overwrite : bool
        Replace the run there.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`, in samples.

    Returns
    -------
    xarray.Dataset
        The copy, opened lazily.

    Raises
    ------
    DataError
        If `run` is not a stored run.
    UsageError
        If `out` is of the same kind, or cannot be written.
    """
    with reporting(progress) as report:
        target = copy_run(Path(run).expanduser(), Path(out).expanduser(), overwrite, report)
    return open_trajectory(target)


def copy_run(path: Path, out: Path, overwrite: bool = False, progress: Progress = silent) -> Path:
    """Copy a stored run to `out`, which it gives; arguments and errors as for `convert_run`."""
    output = Output(out, overwrite=overwrite, endings=ENDINGS)
    if is_zarr(path) == is_zarr(out):
        kind = "a Zarr store" if is_zarr(path) else "a netCDF file"
        raise UsageError(f"`out` '{out}' would be {kind}, as '{path}' is; end it in {ENDINGS[not is_zarr(path)]}.")
    files = PartFiles(out)
    if not (files.in_progress() or files.is_lost() or files.stale()):
        files.clear()  # what a killed copy has left; no run is unfinished here
    output.check()
    with open_as_written(path, (TRAJECTORY_SCHEMA,), "a stored run") as run:
        if not in_regions(run):
            raise UsageError(f"'{path}' holds no data along 'sample', so it is not a whole run; use the run as stored.")
        with files.hold(resume=False, overwrite=overwrite):
            (_write_store if is_zarr(out) else _write_file)(run, out, overwrite, files.folder, progress)
            files.remove()
    return out


def _blocks(run: xr.Dataset, progress: Progress) -> Iterator[tuple[int, xr.Dataset]]:
    """Yield the run in blocks of samples, each with the number of its first one."""
    total = run.sizes["sample"]
    for block in sample_blocks(run):
        progress(block.start, total, "sample", "copying")
        yield block.start, run.isel(sample=block).load()
    progress(total, total, "sample", "copied")


def _write_store(run: xr.Dataset, out: Path, overwrite: bool, folder: Path, progress: Progress) -> None:
    names, made = in_regions(run), folder / "store.zarr"
    with writing(out):
        create_store(made, run, run.sizes["sample"])
        for first, block in _blocks(run, progress):
            write_region(made, block, first)
        write_rest(made, run.drop_vars(names).load(), names)
    publish(made, out, overwrite)


def _write_file(run: xr.Dataset, out: Path, overwrite: bool, folder: Path, progress: Progress) -> None:
    part = folder / "part.nc"

    def parts() -> Iterator[Path]:
        for _, block in _blocks(run, progress):
            part.unlink(missing_ok=True)
            store(block, part)
            yield part

    with replacing(out, overwrite) as temporary:
        store_joined(run, parts(), run.sizes["sample"], temporary, {})
