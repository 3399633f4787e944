"""Headers of .npy and .npz files, and what is refused by them."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import mosaic
from mosaic_data.array_file import ArrayFile


def read(path: Path) -> mosaic.DataSet:
    return ArrayFile(ArrayFile.Options(path=path)).load()


def test_an_archive_is_known_by_its_content(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as stream:
        np.savez(stream, images=np.zeros((2, 3, 3), np.float32), labels=np.array([0, 1]))
    assert read(tmp_path / "x.npy").classes == ("0", "1")


@pytest.mark.parametrize("name", ["images", "labels"])
def test_objects_are_refused_by_the_name_of_their_array(tmp_path: Path, name: str) -> None:
    arrays = {"images": np.zeros((1, 2, 2)), "labels": np.array([0])}
    np.savez(tmp_path / "x.npz", **{**arrays, name: np.array([{}], object)}, allow_pickle=True)
    with pytest.raises(mosaic.DataError, match=f"'{name}'.*objects") as caught:
        read(tmp_path / "x.npz")
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_in_an_archive_is_found_though_a_subset_is_read(tmp_path: Path, compression: int) -> None:
    path, images = tmp_path / "x.npz", np.random.default_rng(0).integers(0, 256, (3000, 30, 30), np.uint8)
    (np.savez if compression == zipfile.ZIP_STORED else np.savez_compressed)(path, images=images)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(mosaic.DataError, match=r"x\.npz'"):
        ArrayFile(ArrayFile.Options(path=path, limit=1)).load()


def test_a_header_of_another_version_or_a_negative_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 3), np.float32))
    content = (tmp_path / "x.npy").read_bytes()
    for changed in (content.replace(b"NUMPY\x01", b"NUMPY\x07"), content.replace(b"(2, 3, 3)", b"(-2,3, 3)")):
        (tmp_path / "x.npy").write_bytes(changed)
        with pytest.raises(mosaic.DataError, match=r"x\.npy'"):
            read(tmp_path / "x.npy")


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_of_any_length_is_not_read(tmp_path: Path, version: int) -> None:
    size = struct.pack("<H", 2**16 - 1) if version == 1 else struct.pack("<I", 2**31)
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY" + bytes([version, 0]) + size + b" " * 10)
    with pytest.raises(mosaic.DataError, match="header"):
        ArrayFile(ArrayFile.Options(path=tmp_path / "x.npy")).load()
