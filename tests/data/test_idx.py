"""The idx reader: what it reads, and that no damaged file passes."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import mosaic
from mosaic_data.idx import IdxFile

CONTENT = bytes((0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 5, 6, 7, 8, 9, 255))


def test_idx_is_read_plain_or_packed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CONTENT)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(CONTENT))
    for name in ("plain", "packed"):
        assert IdxFile(tmp_path / name, 2).read().tolist() == [[5, 6, 7], [8, 9, 255]]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"0"], ids=["short", "long"])
def test_idx_of_the_wrong_length_is_named_with_both_sizes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(mosaic.DataError, match=rf"x'.*\b{len(content)}\b.*\b18\b"):
        IdxFile(tmp_path / "x", 2).read()


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", CONTENT[:6], b"\0\0\x08\x03" + CONTENT[4:], b"\0\0\x0d" + CONTENT[3:]],
)
def test_file_without_the_idx_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(mosaic.DataError, match=rf"x'.*\b{len(content)}\b"):
        IdxFile(tmp_path / "x", 2).read()


@pytest.mark.parametrize("content", [gzip.compress(CONTENT)[:-10], b"no gzip"], ids=["truncated", "other"])
def test_damaged_gz_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(mosaic.DataError, match=r"x\.gz'"):
        IdxFile(tmp_path / "x", 2).read()


def test_only_the_rows_that_are_chosen_are_read(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CONTENT)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(CONTENT))
    for name in ("plain", "packed"):
        stored = IdxFile(tmp_path / name, 2)
        assert stored.shape == (2, 3)
        assert stored.read(np.array([1])).tolist() == [[8, 9, 255]]
        assert stored.read(np.array([], np.int64)).shape == (0, 3)


def test_a_packed_file_that_is_longer_than_it_says_is_not_unpacked_further(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(CONTENT + bytes(10**6)))
    with pytest.raises(mosaic.DataError, match=r"x\.gz'.*\b18\b"):
        IdxFile(tmp_path / "x", 2).read()


def test_a_packed_file_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(CONTENT))
    packed[-8] ^= 1
    (tmp_path / "x.gz").write_bytes(packed)
    with pytest.raises(mosaic.DataError, match=r"x\.gz'"):
        IdxFile(tmp_path / "x", 2).read()
