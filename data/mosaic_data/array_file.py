"""The data set `file`: images, and labels where there are any, as arrays in one .npz, .npy or .nc file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

import mosaic
from mosaic_data.axes import layout_of
from mosaic_data.netcdf_file import netcdf_arrays
from mosaic_data.numpy_file import numpy_arrays
from mosaic_data.pixel_range import PixelRange
from mosaic_data.stored_array import StoredArray
from mosaic_data.text import error_line, listed, readable

__all__ = ["ArrayFile"]

READERS = {".npz": numpy_arrays, ".npy": numpy_arrays, ".nc": netcdf_arrays}
MOST_CLASSES = 65_536


class ArrayFile(mosaic.DataSource):
    """The arrays `images` and, optionally, `labels` of a numpy or netCDF file."""

    name = "file"
    reads_subset = True

    class Options(mosaic.DataSetOptions):
        """The file, and how its arrays become images."""

        path: Path = Field(description="A .npz or .nc file with `images` and optionally `labels`, or a .npy file.")
        layout: Literal["auto", "NHW", "NHWC", "NCHW"] = Field(
            "auto",
            description="Order of the axes: N images, H rows, W columns, C channels; auto goes by the names "
            "of the axes where the file has them (.nc), else by the shape.",
        )
        range: tuple[float, float] | None = Field(
            None,
            description="LOW,HIGH that become -1 and 1; default 0,255 for uint8, 0,65535 for uint16, -1,1 for floats; "
            "other integers need it.",
        )

        @field_validator("range")
        @classmethod
        def _rising(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
            if bounds is not None and not (bounds[0] < bounds[1] and math.isfinite(bounds[1] - bounds[0])):
                raise ValueError("it is two finite numbers, the lower one first")
            return bounds

    def available(self) -> str | None:
        """Say that the file does not exist; None if it does."""
        path = self.options.path.expanduser()
        return None if path.is_file() else f"there is no file '{path}'"

    def read(self) -> mosaic.DataSet:
        """Read the arrays: images (N, C, H, W) float32, range [-1, 1]; classes are named by their numbers.

        Headers are read first. Of the images only those are read that `limit` and `skip` choose.

        Raises
        ------
        DataError
            If the file is missing or damaged, holds no `images`, or arrays that cannot be images and labels, or if
            reading it takes more memory than there is.
        """
        path = self.options.path.expanduser()
        if not path.is_file():
            raise mosaic.DataError(f"There is no file '{path}'; give dataset.path a .npz, .npy or .nc file.")
        opened = READERS.get(path.suffix.lower())
        if opened is None:
            raise mosaic.DataError(f"'{path}' is not a {', '.join(READERS)} file; save the arrays as one of these.")
        try:
            with opened(path) as (names, arrays):
                if "images" not in arrays:
                    raise mosaic.DataError(f"'{path}' has no array 'images'; it has: {listed(names) or 'none'}.")
                unread = [name for name in names if name not in ("images", "labels")]
                note = f"Of '{path}' these are not read: {listed(unread)}; the data set has images and labels only."
                return self._read(path, arrays["images"], arrays.get("labels"), (note,) if unread else ())
        except mosaic.MosaicError:
            raise
        except Exception as error:  # numpy, zipfile, zlib and HDF5 each raise kinds of their own for a damaged file
            raise mosaic.DataError(
                f"'{path}' cannot be read ({error_line(error)}); it may be damaged: save it again."
            ) from error

    def _read(
        self, path: Path, stored: StoredArray, stored_labels: StoredArray | None, unread: tuple[str, ...]
    ) -> mosaic.DataSet:
        layout, notes = layout_of(stored.shape, stored.dims, self.options.layout, path)
        if math.prod(stored.shape) == 0:
            raise mosaic.DataError(f"'{path}': images of shape {stored.shape} hold no pixels.")
        pixel_range = PixelRange(stored.dtype, self.options.range, path)
        first = layout.index("N")
        order, count = "N" + layout.replace("N", ""), stored.shape[first]
        lengths = dict(zip(layout, stored.shape, strict=True))
        shape = (lengths.get("C", 1), lengths["H"], lengths["W"])
        # Labels of all images are needed to choose: a few integers an image.
        kept = self.kept(count)
        self.check_memory(kept, shape, 64 * count + stored.held)
        labels = (
            None if stored_labels is None else _read_labels(stored_labels, count, stored.dims[first : first + 1], path)
        )
        chosen = self.choose(count, labels)
        images, done = torch.empty(kept, *shape, dtype=torch.float32, device="cpu"), 0
        for rows in stored.rows(chosen.numpy(), first):
            axes = [order.index(axis) for axis in "NCHW" if axis in order]
            unit = pixel_range.to_unit(rows.transpose(axes))
            images[done : done + len(rows)] = torch.from_numpy(unit).reshape(-1, *shape)
            done += len(rows)
        return mosaic.DataSet(
            name=self.name,
            images=images,
            labels=None if labels is None else labels[chosen],
            classes=() if labels is None else tuple(str(label) for label in range(int(labels.max()) + 1)),
            origin=readable(path.resolve()),
            notes=(*unread, *notes, *pixel_range.check(kept, count)),
        )


def _read_labels(stored: StoredArray, count: int, dims: tuple[str, ...], path: Path) -> Tensor:
    """Read the labels of `count` images along the axis `dims`, which has no name in some files."""
    if stored.dims != dims:
        raise mosaic.DataError(
            f"'{path}': 'labels' have the axis {listed(stored.dims)}, the images are along {listed(dims)}; rename it."
        )
    if stored.dtype.kind not in "iu" or stored.shape != (count,):
        raise mosaic.DataError(
            f"'{path}': labels must be integers, one for each of {count} images, "
            f"not {stored.dtype} of shape {stored.shape}."
        )
    labels = stored.whole()
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_CLASSES:
        raise mosaic.DataError(
            f"'{path}': labels span [{low}, {high}], outside [0, {MOST_CLASSES - 1}]; renumber the classes."
        )
    return torch.from_numpy(labels.astype(np.int64))
