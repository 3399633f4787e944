"""The idx reader: what it reads, and that no damaged file passes."""

import gzip
from pathlib import Path

import pytest

import mosaic
from mosaic_data.idx import read_idx

CONTENT = bytes((0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 5, 6, 7, 8, 9, 255))


def test_idx_is_read_plain_or_packed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CONTENT)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(CONTENT))
    for name in ("plain", "packed"):
        assert read_idx(tmp_path / name, 2).tolist() == [[5, 6, 7], [8, 9, 255]]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"0"], ids=["short", "long"])
def test_idx_of_the_wrong_length_is_named_with_both_sizes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(mosaic.DataError, match=rf"x'.*\b{len(content)}\b.*\b18\b"):
        read_idx(tmp_path / "x", 2)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", CONTENT[:6], b"\0\0\x08\x03" + CONTENT[4:], b"\0\0\x0d" + CONTENT[3:]],
)
def test_file_without_the_idx_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(mosaic.DataError, match=rf"x'.*\b{len(content)}\b"):
        read_idx(tmp_path / "x", 2)


@pytest.mark.parametrize("content", [gzip.compress(CONTENT)[:-10], b"no gzip"], ids=["truncated", "other"])
def test_damaged_gz_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(mosaic.DataError, match=r"x\.gz'"):
        read_idx(tmp_path / "x", 2)
