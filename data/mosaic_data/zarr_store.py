"""Arrays of Zarr groups, read by regions: the extra `zarr`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import mosaic
from mosaic_data.stored_array import Array, Indices, StoredArray, pieces

__all__ = ["zarr_arrays"]

PACKED = ("scale_factor", "add_offset")


@contextmanager
def zarr_arrays(path: Path) -> Iterator[tuple[list[str], dict[str, StoredArray]]]:
    """Give the names of a group's arrays, and its arrays `images` and `labels`, unread; a lone array is `images`.

    Raises
    ------
    DataError
        If zarr is not installed, or an array is packed.
    """
    try:
        import zarr
    except ImportError:
        raise mosaic.DataError(
            f"'{path}' is read by the package zarr, which is not installed; `pip install 'mosaic-diffusion[zarr]'`."
        ) from None
    opened: Any = zarr.open(str(path), mode="r")
    if isinstance(opened, zarr.Array):
        yield ["images"], {"images": ZarrArray(opened, "images", path)}
        return
    names = sorted(opened.array_keys())
    yield names, {name: ZarrArray(opened[name], name, path) for name in ("images", "labels") if name in names}


class ZarrArray(StoredArray):
    """An array of a Zarr group; its axes have the names that xarray or the third version of the format give them."""

    is_direct = True

    def __init__(self, stored: Any, name: str, path: Path) -> None:
        packed = [key for key in PACKED if key in stored.attrs]
        if packed:
            raise mosaic.DataError(f"'{path}': '{name}' is packed ({', '.join(packed)}); save the unpacked values.")
        named = getattr(stored.metadata, "dimension_names", None) or stored.attrs.get("_ARRAY_DIMENSIONS") or ()
        self._stored, self.shape, self.dtype = stored, stored.shape, np.dtype(stored.dtype)
        self.dims = tuple(map(str, named)) if None not in named else ()
        self._chunk = stored.chunks
        self.held = 2 * int(np.prod(self._chunk)) * self.dtype.itemsize

    def entries(self, first: int, last: int, axis: int = 0) -> Array:
        """Read a region."""
        region = (slice(None),) * axis + (slice(first, last),)
        return np.moveaxis(np.asarray(self._stored[region]), axis, 0)

    def rows(self, chosen: Indices, axis: int = 0) -> Iterator[Array]:
        """Read the chosen entries of an axis; the axis comes first."""
        count = self.shape[axis]
        row_bytes = int(np.prod(self.shape)) // max(1, count) * self.dtype.itemsize
        for start, _, inside in pieces(count, row_bytes, chosen, self._chunk[axis]):
            if len(inside):
                first = start + int(inside[0])
                yield self.entries(first, start + int(inside[-1]) + 1, axis)[inside - inside[0]]
