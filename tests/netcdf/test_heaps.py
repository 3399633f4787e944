"""Global heaps of netCDF-4 files: whole ones pass, and none has an object that the library would never get past."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray

import mosaic
from mosaic.netcdf import heaps
from mosaic.netcdf.heaps import SIGNATURE, check_heaps
from mosaic_data.array_file import ArrayFile


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A file whose heap has the references of its dimensions."""
    path = tmp_path / "x.nc"
    xarray.Dataset({"images": (("n", "y", "x"), np.zeros((3, 4, 5), np.float32))}).to_netcdf(path)
    assert SIGNATURE in path.read_bytes()
    return path


@pytest.mark.parametrize("edge", [2**25, 2**10])
def test_whole_heaps_pass(stored: Path, monkeypatch: pytest.MonkeyPatch, edge: int) -> None:
    monkeypatch.setattr(heaps, "EDGE", edge)
    check_heaps(stored)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (0, 8), (1, 2**64 - 16)])
@pytest.mark.parametrize("before", [0, 10_000])
def test_an_object_without_a_length_is_found(
    stored: Path, monkeypatch: pytest.MonkeyPatch, index: int, size: int, before: int
) -> None:
    monkeypatch.setattr(heaps, "EDGE", 2**13)
    content = bytearray(stored.read_bytes())
    at = content.index(SIGNATURE) + 16
    content[at : at + 2], content[at + 8 : at + 16] = index.to_bytes(2, "little"), size.to_bytes(8, "little")
    stored.write_bytes(content[:8] + bytes(before) + content[8:])  # behind the signature of the file
    with pytest.raises(ValueError, match="length"):
        check_heaps(stored)
    with pytest.raises(mosaic.DataError, match=r"x\.nc'"):
        mosaic.open_netcdf(stored)
    with pytest.raises(mosaic.DataError, match=r"x\.nc'"):
        ArrayFile(ArrayFile.Options(path=stored)).load()


def test_another_format_may_hold_the_signature(tmp_path: Path) -> None:
    pixels = np.frombuffer(SIGNATURE + bytes(56), np.uint8)
    with netCDF4.Dataset(tmp_path / "x.nc", "w", format="NETCDF3_64BIT_DATA") as dataset:
        dataset.createDimension("x", len(pixels))
        dataset.createVariable("images", "u1", ("x",))[:] = pixels
    with mosaic.open_netcdf(str(tmp_path / "x.nc")) as stored:
        np.testing.assert_array_equal(stored["images"], pixels)


@pytest.mark.parametrize("content", [b"", SIGNATURE, SIGNATURE + b"\xff" * 7, SIGNATURE + b"\xff" * 8])
def test_a_heap_that_ends_early_is_left_to_the_library(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.nc").write_bytes(content)
    check_heaps(tmp_path / "x.nc")
