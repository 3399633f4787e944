"""The files of a result in progress: finished parts, and the one netCDF file that they are joined into.

A netCDF-4 file open for writing cannot be read, and a killed writer loses it. So each finished batch becomes
a file of its own, written under a temporary name and then moved into place, and so does the whole. A kill at
any moment loses at most the batch in flight.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.errors import UsageError
from mosaic.storage.files import OutputInUse, as_attribute, locked, replacing, write_netcdf
from mosaic.storage.made_by import core_digest

__all__ = ["PartFiles", "join"]

IDENTITY = "identity.json"


class PartFiles:
    """A netCDF file, and its parts in `<path>.parts` until it is finished.

    The identity of the work in progress is kept with the parts; its entries become root attributes of the finished
    file. Parts without an identity are stale: a kill left them.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.with_name(path.name + ".parts")

    def in_progress(self) -> dict[str, Any] | None:
        """Identity of what is in progress here; None where nothing is."""
        try:
            return dict(json.loads((self.folder / IDENTITY).read_text()))
        except FileNotFoundError:
            return None

    def part(self, number: int) -> Path:
        """File of one finished batch."""
        return self.folder / f"part-{number:05d}.nc"

    def write_part(self, number: int, dataset: xr.Dataset) -> None:
        """Store a finished batch, with the digest of the code that made it."""
        write_netcdf(dataset.assign_attrs(code=core_digest()), self.part(number))

    @contextmanager
    def hold(self, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Make the folder for the parts, remove stale ones, and lock the folder until the block ends.

        Raises
        ------
        OutputInUse
            If another process has started or finished here since the check, or is working on this.
        UsageError
            If it cannot be written.
        """
        try:
            if overwrite or (resume and self.in_progress() is None):
                self.clear()
            try:  # mkdir is atomic: of two new runs that start here at once, one fails
                self.folder.mkdir(exist_ok=resume)
            except FileExistsError:
                raise OutputInUse(f"another run has just started at '{self.path}'; use another `out`.") from None
            with locked(self.folder, self.path), replacing(self.folder / IDENTITY) as temporary:
                temporary.write_text(json.dumps(identity, indent=1))
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"`out` '{self.path}' cannot be written ({reason}); choose another place.") from None
        with locked(self.folder, self.path):
            if self.path.exists() and not (resume or overwrite):  # finished between the check and now
                self._clean()
                raise OutputInUse(f"another run has just finished at '{self.path}'; use another `out`.")
            yield
        self._sweep()

    def finish(self, count: int, attributes: Mapping[str, str], complete: Callable[[xr.Dataset], xr.Dataset]) -> None:
        """Join the parts, `complete` the whole, write it with `attributes` on its root, and remove the parts."""
        parts = [xr.load_dataset(self.part(number), engine="netcdf4") for number in range(count)]
        # Several digests, if other code resumed the run than started it: no single one made the file.
        codes = sorted({str(part.attrs.get("code")) for part in parts})
        write_netcdf(complete(join(parts, {**attributes, "code": " ".join(codes)})), self.path)
        self._clean()

    def abandon(self) -> None:
        """Remove the folder for the parts if no batch was finished."""
        if not list(self.folder.glob("part-*.nc")):
            self._clean()

    def clear(self) -> None:
        """Remove parts that are left here.

        Raises
        ------
        OutputInUse
            If another process is working on them.
        """
        if self.folder.exists():
            with locked(self.folder, self.path):
                self._clean()
            self._sweep()

    def _clean(self) -> None:
        """Remove the identity, then the parts: a kill between leaves stale parts, not a run that lacks some."""
        (self.folder / IDENTITY).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what `_clean` could not while the lock was held: Windows does not remove open files."""
        if os.name == "nt" and self.in_progress() is None:
            shutil.rmtree(self.folder, ignore_errors=True)


def join(parts: Sequence[xr.Dataset], attributes: Mapping[str, str]) -> xr.Dataset:
    """Join batches along `sample`, in this order; variables without it are those of the first batch."""
    whole = xr.concat(parts, dim="sample", data_vars="minimal", coords="minimal", compat="override", join="override")
    return whole.assign_attrs(attributes)


def encoded(identity: Mapping[str, Any]) -> dict[str, str]:
    """Write each entry of an identity as a root attribute."""
    return {key: as_attribute(value) for key, value in identity.items()}
