"""The data set `file`: images, and labels where there are any, as arrays in one .npz, .npy or .nc file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

import mosaic

__all__ = ["ArrayFile", "channels_first", "to_unit_range"]

Array = NDArray[Any]
MOST_CLASSES = 65_536


class ArrayFile(mosaic.DataSource):
    """The arrays `images` and, optionally, `labels` of a numpy or netCDF file."""

    name = "file"

    class Options(mosaic.DataSetOptions):
        """The file, and how its arrays become images."""

        path: Path = Field(description="A .npz or .nc file with `images` and optionally `labels`, or a .npy file.")
        layout: Literal["auto", "NHW", "NHWC", "NCHW"] = Field(
            "auto",
            description="Order of the axes: N images, H rows, W columns, C channels; auto goes by the shape.",
        )
        range: tuple[float, float] | None = Field(
            None,
            description="LOW,HIGH that become -1 and 1; default 0,255 for uint8, 0,65535 for uint16, -1,1 for floats.",
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

        Raises
        ------
        DataError
            If the file is missing or damaged, holds no `images`, or arrays that cannot be images and labels.
        """
        path = self.options.path.expanduser()
        names, arrays = _read_arrays(path)
        if "images" not in arrays:
            raise mosaic.DataError(f"'{path}' has no array 'images'; it has: {', '.join(names) or 'none'}.")
        images = to_unit_range(channels_first(arrays["images"], self.options.layout, path), self.options.range, path)
        labels = _check_labels(arrays["labels"], len(images), path) if "labels" in arrays else None
        return mosaic.DataSet(
            name=self.name,
            images=images,
            labels=labels,
            classes=() if labels is None else tuple(str(label) for label in range(int(labels.max()) + 1)),
            origin=str(path.resolve()),
        )


def channels_first(images: Array, layout: str, path: Path) -> Array:
    """View `images` as (N, C, H, W); layout "auto" takes an axis of length 1 or 3 for the channels.

    Raises
    ------
    DataError
        If the shape does not fit the layout, or fits more than one layout; `path` is named.
    """
    if layout == "auto":
        layout = _layout_of(images.shape, path)
    if images.ndim != len(layout):
        raise mosaic.DataError(f"'{path}': images of shape {images.shape} do not fit dataset.layout={layout}.")
    if images.size == 0:
        raise mosaic.DataError(f"'{path}': images of shape {images.shape} hold no pixels.")
    if layout == "NHW":
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if layout == "NHWC" else images


def _layout_of(shape: tuple[int, ...], path: Path) -> str:
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise mosaic.DataError(f"'{path}': images of shape {shape} are not NHW, NHWC or NCHW; reshape them.")
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        which = "both the second and the last" if first else "neither the second nor the last"
        raise mosaic.DataError(
            f"'{path}': in images of shape {shape} {which} axis may be the channels (of length 1 or 3); "
            "say which with dataset.layout=NCHW or dataset.layout=NHWC."
        )
    return "NCHW" if first else "NHWC"


def to_unit_range(images: Array, bounds: tuple[float, float] | None, path: Path) -> Tensor:
    """Map images linearly from `bounds` to [-1, 1], as float32; NaN and infinity pass through.

    Raises
    ------
    DataError
        If they are of another type than uint8, uint16, bool or float, or leave the bounds; `path` is named.
    """
    known = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "bool": (0.0, 1.0)}
    if images.dtype.name not in known and images.dtype.kind != "f":
        raise mosaic.DataError(
            f"'{path}': images must be uint8, uint16, bool or floats, not {images.dtype}; convert them first."
        )
    low, high = bounds or known.get(images.dtype.name, (-1.0, 1.0))
    least, most = float(images.min()), float(images.max())
    slack = 1e-4 * (high - low) / 2
    if math.isfinite(most - least) and (least < low - slack or most > high + slack):
        raise mosaic.DataError(
            f"'{path}': pixel values span [{least:g}, {most:g}], outside [{low:g}, {high:g}]; "
            "say which values are black and white with dataset.range=LOW,HIGH."
        )
    if (low, high) == (-1.0, 1.0):  # (x + 1) - 1 would round what is in range already
        return torch.from_numpy(np.array(images, dtype=np.float32, order="C"))
    # In the file's own precision: float32 cannot distinguish 1000000 from 1000000.01.
    precision = np.float64 if images.dtype.kind == "f" else np.float32
    unit = np.subtract(images, low, dtype=precision) / precision((high - low) / 2) - precision(1)
    return torch.from_numpy(np.ascontiguousarray(unit, dtype=np.float32))


def _check_labels(labels: Array, count: int, path: Path) -> Tensor:
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise mosaic.DataError(
            f"'{path}': labels must be integers, one for each of {count} images, "
            f"not {labels.dtype} of shape {labels.shape}."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_CLASSES:
        raise mosaic.DataError(
            f"'{path}': labels span [{low}, {high}], outside [0, {MOST_CLASSES - 1}]; renumber the classes."
        )
    return torch.from_numpy(labels.astype(np.int64))


def _read_arrays(path: Path) -> tuple[list[str], dict[str, Array]]:
    """Give the names of all arrays in a file, and its arrays `images` and `labels`, if present."""
    readers = {".npz": _read_numpy, ".npy": _read_numpy, ".nc": _read_netcdf}
    if not path.is_file():
        raise mosaic.DataError(f"There is no file '{path}'; give dataset.path a .npz, .npy or .nc file.")
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise mosaic.DataError(f"'{path}' is not a {', '.join(readers)} file; save the arrays as one of these.")
    try:
        return reader(path)
    except mosaic.DataError:
        raise
    except Exception as error:  # numpy, zipfile, zlib and HDF5 each raise kinds of their own for a damaged file
        raise mosaic.DataError(
            f"'{path}' cannot be read ({type(error).__name__}: {error}); it may be damaged: save it again."
        ) from error


def _read_numpy(path: Path) -> tuple[list[str], dict[str, Array]]:
    with path.open("rb") as stream:
        loaded = np.load(stream, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return ["images"], {"images": loaded}
        with loaded as archive:
            return archive.files, {name: archive[name] for name in ("images", "labels") if name in archive.files}


def _read_netcdf(path: Path) -> tuple[list[str], dict[str, Array]]:
    with mosaic.open_netcdf(path) as opened:
        names = [str(name) for name in opened.variables]
        return names, {name: opened[name].values for name in ("images", "labels") if name in names}
