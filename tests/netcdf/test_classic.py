"""Headers of the classic netCDF formats: whole ones pass, and none can claim more than its file holds."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest

from mosaic.netcdf.classic import check_classic_header

FORMATS = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4")


def stored(path: Path, kind: str) -> bytes:
    with netCDF4.Dataset(path, "w", format=kind) as dataset:
        dataset.createDimension("sample", None)
        dataset.createDimension("y", 5)
        dataset.setncatts({"title": "odd", "numbers": np.arange(3, dtype=np.int16), "reals": np.ones(3)})
        for name, dtype in (("images", "f4"), ("labels", "i2")):
            variable = dataset.createVariable(name, dtype, ("sample", "y"))
            variable.setncatts({"units": "1", "valid_range": np.array([0, 1], dtype)})
            variable[:] = np.zeros((4, 5))
    return path.read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_whole_headers_pass(tmp_path: Path, kind: str) -> None:
    stored(tmp_path / "x.nc", kind)
    check_classic_header(tmp_path / "x.nc")


@pytest.mark.parametrize("kind", FORMATS[:3])
def test_every_number_of_a_header_that_is_too_large_is_found(tmp_path: Path, kind: str) -> None:
    """Dimensions, their names, attributes, variables: what counts or measures comes after a tag or before a name."""
    path = tmp_path / "x.nc"
    content, width = stored(path, kind), 8 if kind.endswith("DATA") else 4
    start = 4 + width  # behind the magic number and the number of records
    counts = [start + 4, start + 4 + width]  # of dimensions; letters of the first one's name
    after = content.index(b"title") - width
    counts += [after - width, after, content.index(b"images") - width, content.index(b"images") - 2 * width]
    for place in counts:
        damaged = bytearray(content)
        damaged[place : place + 4] = b"\x32\x31\x34\x37"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"header|attribute"):
            check_classic_header(path)


@pytest.mark.parametrize("kind", FORMATS[:3])
def test_a_header_that_ends_early_is_found(tmp_path: Path, kind: str) -> None:
    content = stored(tmp_path / "x.nc", kind)
    for length in range(4, content.index(b"labels"), 3):
        (tmp_path / "x.nc").write_bytes(content[:length])
        with pytest.raises(ValueError, match="header"):
            check_classic_header(tmp_path / "x.nc")
