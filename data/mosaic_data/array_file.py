"""The data set `file`: images, and labels where there are any, as arrays of one .npz, .npy, .nc or .zarr."""

from __future__ import annotations

import math
from contextlib import ExitStack
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
from mosaic_data.stored_images import StoredImages, decoded
from mosaic_data.text import error_line, listed, readable
from mosaic_data.zarr_store import zarr_arrays

__all__ = ["ArrayFile"]

READERS = {".npz": numpy_arrays, ".npy": numpy_arrays, ".nc": netcdf_arrays, ".zarr": zarr_arrays}
MOST_CLASSES = 65_536


class ArrayFile(mosaic.DataSource):
    """The arrays `images` and, optionally, `labels` of a numpy or netCDF file, or a Zarr group.

    More images than memory holds are read in pieces; those of a compressed .npz are unpacked into the cache folder.
    """

    name = "file"
    reads_subset = True

    class Options(mosaic.DataSetOptions):
        """The file, and how its arrays become images."""

        path: Path = Field(
            description="A .npz, .nc or .zarr file with `images` and optionally `labels`, or a .npy file."
        )
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
        return None if _is_there(path) else f"there is no file '{path}'"

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
        if not _is_there(path):
            raise mosaic.DataError(f"There is no file '{path}'; give dataset.path a .npz, .npy, .nc or .zarr file.")
        opened = READERS.get(path.suffix.lower())
        if opened is None:
            raise mosaic.DataError(f"'{path}' is not a {', '.join(READERS)} file; save the arrays as one of these.")
        try:
            with ExitStack() as stack:
                names, arrays = stack.enter_context(opened(path))
                if "images" not in arrays:
                    raise mosaic.DataError(f"'{path}' has no array 'images'; it has: {listed(names) or 'none'}.")
                unread = [name for name in names if name not in ("images", "labels")]
                note = f"Of '{path}' these are not read: {listed(unread)}; the data set has images and labels only."
                dataset = self._read(path, arrays["images"], arrays.get("labels"), (note,) if unread else ())
                if not isinstance(dataset.images, Tensor):
                    arrays["images"].opened = stack.pop_all()
                return dataset
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
        source = StoredImages(stored, layout, (pixel_range.low, pixel_range.high), path)
        count, shape, kept = len(source), source.shape[1:], self.kept(len(source))
        labels = (
            None if stored_labels is None else _read_labels(stored_labels, count, stored.dims[first : first + 1], path)
        )
        # Labels of all images are needed to choose: a few integers an image.
        chosen = self.choose(count, labels)
        images: mosaic.Images
        more = 64 * count + stored.held
        if not self.fits(0, shape, more):  # pieces would not fit either
            self.check_memory(kept, shape, more)
        if self.fits(kept, shape, more):
            images, done = torch.empty(kept, *shape, dtype=torch.float32, device="cpu"), 0
            for pixels in source.rows(chosen.numpy()):
                pixel_range.see(float(pixels.min()), float(pixels.max()))
                images[done : done + len(pixels)] = source.values(pixels)
                done += len(pixels)
        else:
            images = (source if stored.is_direct else decoded(source, path)).select(chosen)
            pixel_range.see(*images.stored_limits())
            stored.check_written(*images.stored_limits())
            notes = [*notes, self.pieces_note(kept, shape)]
        return mosaic.DataSet(
            name=self.name,
            images=images,
            labels=None if labels is None else labels[chosen],
            classes=() if labels is None else tuple(str(label) for label in range(int(labels.max()) + 1)),
            origin=readable(path.resolve()),
            notes=(*unread, *notes, *pixel_range.check(kept, count)),
        )


def _is_there(path: Path) -> bool:
    return path.is_dir() if path.suffix.lower() == ".zarr" else path.is_file()


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
