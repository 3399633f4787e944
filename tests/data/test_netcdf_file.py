"""Values of netCDF files: integers stay integers, and missing ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray

import mosaic
from mosaic_data.array_file import ArrayFile

IMAGES = np.random.default_rng(0).integers(0, 200, (6, 4, 5), np.uint8)
LABELS = np.arange(6) % 3


def stored(path: Path, encoding: dict[str, Any], images: np.ndarray = IMAGES, **options: Any) -> mosaic.DataSet:
    variables = {"images": (("n", "y", "x"), images), "labels": ("n", LABELS)}
    xarray.Dataset(variables).to_netcdf(path, encoding=encoding)
    return ArrayFile(ArrayFile.Options(path=path, **options)).load()


def test_integers_with_a_fill_value_are_integers(tmp_path: Path) -> None:
    plain = stored(tmp_path / "a.nc", {})
    filled = stored(tmp_path / "b.nc", {"images": {"_FillValue": 255}, "labels": {"_FillValue": -1}})
    assert filled.fingerprint() == plain.fingerprint()
    assert filled.labels is not None
    assert filled.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("name", ["images", "labels"])
def test_integers_that_are_missing_are_refused_with_their_number(tmp_path: Path, name: str) -> None:
    value = int(IMAGES[0, 0, 0]) if name == "images" else 2
    count = int((value == IMAGES).sum()) if name == "images" else 2
    with pytest.raises(mosaic.DataError, match=rf"\b{count} values of '{name}' are {value}"):
        stored(tmp_path / "x.nc", {name: {"_FillValue": value}})


def test_floats_that_are_missing_are_refused(tmp_path: Path) -> None:
    images = np.zeros((6, 4, 5), np.float32)
    images[3, 1, 1] = np.nan  # written as the fill value
    with pytest.raises(mosaic.DataError, match=r"image 3\b"):
        stored(tmp_path / "x.nc", {"images": {"_FillValue": -9.0}}, images)


def test_packed_values_are_unpacked(tmp_path: Path) -> None:
    images = IMAGES.astype(np.float32) / 256
    dataset = stored(
        tmp_path / "x.nc", {"images": {"dtype": "u1", "scale_factor": 1 / 256, "_FillValue": 255}}, images, range=(0, 1)
    )
    np.testing.assert_allclose(dataset.images[:, 0], 2 * images - 1, atol=1e-6)


def test_unsigned_bytes_of_the_classic_format_are_unsigned(tmp_path: Path) -> None:
    signed = xarray.Variable(("n", "y", "x"), IMAGES.view(np.int8), {"_Unsigned": "true", "_FillValue": np.int8(-1)})
    xarray.Dataset({"images": signed}).to_netcdf(tmp_path / "x.nc", format="NETCDF3_CLASSIC")
    images = ArrayFile(ArrayFile.Options(path=tmp_path / "x.nc")).load().images
    np.testing.assert_allclose(images[:, 0], IMAGES / 127.5 - 1, atol=1e-6)


def test_the_chunks_that_must_be_unpacked_count_as_memory(tmp_path: Path) -> None:
    images = np.zeros((64, 256, 256), np.uint8)
    xarray.Dataset({"images": (("n", "y", "x"), images)}).to_netcdf(
        tmp_path / "x.nc", encoding={"images": {"chunksizes": images.shape, "zlib": True}}
    )
    source = ArrayFile(ArrayFile.Options(path=tmp_path / "x.nc", limit=1), mosaic.DataAccess(memory=2**21))
    with pytest.raises(mosaic.DataError, match=r"\b9 MiB.*\b2 MiB"):
        source.load()


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_images_that_were_never_written_are_refused(dtype: str, tmp_path: Path) -> None:
    def load() -> mosaic.DataSet:
        return ArrayFile(ArrayFile.Options(path=tmp_path / "a.nc")).load()

    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for axis, size in (("image", 3), ("height", 4), ("width", 5)):
            file.createDimension(axis, size)
        file.createVariable("images", dtype, ("image", "height", "width"))
    with pytest.raises(mosaic.DataError, match=r"a\.nc.*'images'"):
        load()
    with netCDF4.Dataset(tmp_path / "a.nc", "a") as file:
        file["images"][:] = 1
    assert len(load()) == 3


def test_pixels_that_are_all_white_are_read(tmp_path: Path) -> None:
    assert stored(tmp_path / "a.nc", {}, np.ones(IMAGES.shape, bool)).images.min() == 1
