"""The regions of a result in progress that becomes a Zarr store.

A finished batch is written straight into its region of a store beside the place of the whole. It has a small part file
of what is not in regions, with the digest of what is. A kill loses at most the batch in flight: what it wrote has no
part file. At the end the store is completed, and moved into place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import xarray as xr

from mosaic.containers.regions import (
    create_store,
    digest_of_region,
    in_regions,
    is_usable,
    write_region,
    write_rest,
)
from mosaic.disk.atomic import flush, own_folder, writing
from mosaic.disk.failures import WriteError
from mosaic.netcdf.access import open_netcdf
from mosaic.storage.files import is_own_store
from mosaic.storage.parts import PartFiles

__all__ = ["RegionFiles", "publish"]

REGION = "region"  # an attribute of a part file: variables in the region, and its digest


class RegionFiles(PartFiles):
    """A Zarr store, and in `<path>.parts`, until it is finished, the store in progress with a small file of each part.

    A part counts if its file does (see `PartFiles`), and its region has the digest that is kept in it. Whoever computes
    a part may write it, also while others are written. Only who holds the place begins, finishes and removes.

    Attributes
    ----------
    samples : sequence of range
        Samples of each part.
    """

    def __init__(self, path: Path, samples: Sequence[range]) -> None:
        super().__init__(path)
        self.samples, self.store = samples, self.folder / "store.zarr"

    def stale(self) -> list[Path]:
        """What is left of work whose identity is lost."""
        return [*super().stale(), *([self.store] if self.store.exists() else [])]

    def begin(self, identity: Mapping[str, object], *, resume: bool, overwrite: bool) -> bool:
        """As for `PartFiles`; a store in progress that regions cannot be written to is made again."""
        replaces = super().begin(identity, resume=resume, overwrite=overwrite)
        if self.store.exists() and not is_usable(self.store):
            shutil.rmtree(self.store)
        return replaces

    def write_part(self, number: int, dataset: xr.Dataset) -> None:
        """Store a finished batch in its region, then its part file."""
        samples, names = self.samples[number], in_regions(dataset)
        with writing(self.path):
            if not self.store.exists():
                self._create(dataset)
            write_region(self.store, dataset, samples.start)
        region = {"variables": names, "digest": digest_of_region(self.store, names, samples)}
        super().write_part(number, dataset.drop_vars(names).assign_attrs({REGION: json.dumps(region)}))

    def _create(self, dataset: xr.Dataset) -> None:
        """Make the store, whole or not at all; of several processes that do so at once, one does."""
        with own_folder(self.store) as folder:
            made = folder / self.store.name
            create_store(made, dataset, self.samples[-1].stop)
            try:
                made.rename(self.store)
            except OSError:
                if not self.store.exists():
                    raise
        flush(self.folder)

    def _is_whole(self, number: int) -> bool:
        if not super()._is_whole(number):
            return False
        with open_netcdf(self.part(number)) as part:
            region = json.loads(part.attrs[REGION])
        digest = digest_of_region(self.store, region["variables"], self.samples[number])
        return bool(digest) and digest == region["digest"]

    def finish(
        self,
        count: int,
        attributes: Mapping[str, str],
        complete: Callable[[xr.Dataset], xr.Dataset] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Complete the store with what is not in regions, and move it into place; regions are checked once more."""
        rest = self._joined(count, attributes)
        names = json.loads(rest.attrs.pop(REGION))["variables"]
        with writing(self.path):
            write_rest(self.store, rest if complete is None else complete(rest), names)
        publish(self.store, self.path, overwrite)
        self.remove()


def publish(store: Path, path: Path, overwrite: bool) -> None:
    """Move a finished store into place; one that it replaces is kept beside the finished one until that is there.

    Raises
    ------
    WriteError
        If there is something by now that may not be replaced, or is not a store of mosaic.
    """
    replaced = store.with_name("replaced.zarr")
    with writing(path):
        if path.is_symlink() or path.exists():
            if not overwrite or not is_own_store(path):
                raise WriteError(f"'{path}' was made meanwhile, and is not replaced; move it, and start again.")
            if replaced.exists():
                shutil.rmtree(replaced)
            path.replace(replaced)
        store.replace(path)
        flush(path.parent)
