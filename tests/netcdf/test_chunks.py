"""Indices of chunks: what the library writes passes, and no damage to them changes what is read."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.netcdf.chunks import check_chunks
from mosaic.storage.files import write_netcdf

NODE = b"TREE\x01\x00"


@pytest.fixture
def file() -> Path:
    """200 chunks, of which noise is stored as it is, zeros deflated; the nodes are too many for one of them."""
    noise = np.random.default_rng(0).standard_normal((200, 3, 1)).astype(np.float32)
    noise[100:] = 0
    write_netcdf(xr.Dataset({"image": (("sample", "height", "width"), noise)}), Path("a.nc"))
    return Path("a.nc")


def test_what_was_written_passes(file: Path) -> None:
    check_chunks(file)
    content = file.read_bytes()
    assert content.count(NODE) > 2
    assert content.count(b"TREE\x01\x01") == 1
    xr.Dataset({"a": 1.0, "b": ("x", ["text", "other"]), "none": ("y", np.zeros(0))}).to_netcdf("b.nc")
    check_chunks(Path("b.nc"))
    Path("c.nc").write_text("text")
    check_chunks(Path("c.nc"))


@pytest.mark.parametrize(
    ("place", "bits"),
    [
        (6, 1),  # one chunk fewer
        (24 + 4, 1),  # filter masks: without shuffling, ...
        (24 + 4, 2),  # ... inflating, ...
        (24 + 4, 4),  # ... checksum, ...
        (24 + 4, 8),  # ... and one that there is not
        (24 + 8, 1),  # another sample
        (24 + 8 + 3, 128),  # none there is
        (24 + 16, 1),  # another row
        (24 + 32, 1),  # the size of a value
    ],
)
def test_a_damaged_index_is_found(file: Path, place: int, bits: int) -> None:
    content = bytearray(file.read_bytes())
    last = content.rfind(NODE)
    content[last + place] ^= bits
    file.write_bytes(content)
    with pytest.raises(ValueError, match="index"):
        check_chunks(file)


def test_an_index_that_leads_nowhere_or_to_itself_is_found(file: Path) -> None:
    content = file.read_bytes()
    root = content.find(b"TREE\x01\x01")
    for target in (0, len(content) - 8, 2**63, root, len(content)):
        damaged = bytearray(content + NODE)  # an index that ends after its first bytes
        struct.pack_into("<Q", damaged, root + 24 + 8 + 4 * 8, target)
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="index"):
            check_chunks(file)


def test_chunks_of_no_size_are_found(file: Path) -> None:
    content = bytearray(file.read_bytes())
    layout = content.find(b"\x03\x02\x04")  # version, in chunks, three axes and the size of a value
    content[layout + 11 : layout + 15] = bytes(4)
    file.write_bytes(content)
    with pytest.raises(ValueError, match="index"):
        check_chunks(file)


def test_a_stored_run_with_a_damaged_index_is_refused(tiny: mosaic.DataSet) -> None:
    mosaic.run("is", tiny, steps=2, samples=2, out="run.nc", progress=False).close()
    content = bytearray(Path("run.nc").read_bytes())
    content[content.rfind(NODE) + 24 + 4] ^= 1
    Path("run.nc").write_bytes(content)
    with pytest.raises(mosaic.DataError, match=r"run\.nc"):
        mosaic.open("run.nc")
