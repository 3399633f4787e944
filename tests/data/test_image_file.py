"""Image files: their kinds and sizes, their pixels, and what cannot be read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mosaic
from mosaic_data.image_file import decode, inspect

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
DEEP = np.random.default_rng(0).integers(0, 65536, (4, 5), np.uint16)


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "L"), ("L", "L"), ("LA", "L"), ("P", "RGB"), ("RGB", "RGB"), ("RGBA", "RGB")]
)
def test_an_image_is_grey_or_of_any_other_kind(tmp_path: Path, mode: str, kind: str) -> None:
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    assert inspect(tmp_path / "a.png") == (kind, (5, 4), 8, 1, mode)


def test_pixels_are_decoded_as_they_were_saved(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "colour.png")
    Image.fromarray(GREY).save(tmp_path / "grey.bmp")
    np.testing.assert_array_equal(decode(tmp_path / "colour.png", "RGB"), RGB)
    np.testing.assert_array_equal(decode(tmp_path / "grey.bmp", "L"), GREY)
    np.testing.assert_array_equal(decode(tmp_path / "grey.bmp", "RGB"), np.stack([GREY] * 3, axis=-1))
    assert decode(tmp_path / "grey.bmp", "L").flags.writeable


def test_alpha_that_hides_nothing_is_dropped_and_transparency_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("RGBA").save(tmp_path / "b.png")
    np.testing.assert_array_equal(decode(tmp_path / "b.png", "RGB"), RGB)
    palette = Image.fromarray(RGB).quantize(4)
    palette.save(tmp_path / "a.png", transparency=bytes([0, 128, 255, 255]))
    faint = Image.fromarray(RGB).convert("RGBA")
    faint.putpixel((0, 0), (0, 0, 0, 254))
    faint.save(tmp_path / "c.png")
    for name in ("a.png", "c.png"):
        with pytest.raises(mosaic.DataError, match=rf"{name}'"):
            decode(tmp_path / name, "RGB")


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.pgm", "lzw.tiff", "big-endian.tiff"])
def test_grey_images_of_sixteen_bits_keep_them(tmp_path: Path, name: str) -> None:
    path, pixels = tmp_path / name, DEEP.astype(">u2") if name.startswith("big") else DEEP
    Image.fromarray(pixels).save(path, **({"compression": "tiff_lzw"} if name.startswith("lzw") else {}))
    assert inspect(path)[:3] == ("L", (5, 4), 16)
    np.testing.assert_array_equal(decode(path, "L", 16), DEEP)
    np.testing.assert_array_equal(decode(path, "RGB", 16), np.stack([DEEP] * 3, axis=-1))
    with pytest.raises(mosaic.DataError, match=r"\b16 bits.*\b8\b"):
        decode(path, "L")


def test_a_grey_image_of_ten_bits_is_scaled_to_sixteen(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P2 2 2 1023\n0 1023 0 1023\n")
    assert decode(tmp_path / "a.pgm", "L", 16).tolist() == [[0, 65535], [0, 65535]]


DEEP_FILES = {
    "floats.tiff": lambda path: Image.fromarray(GREY.astype(np.float32)).save(path),
    "ints.tiff": lambda path: Image.fromarray(GREY.astype(np.int32)).save(path),
    "colour.png": lambda path: path.write_bytes(png(2, 3)),
    "alpha.png": lambda path: path.write_bytes(png(4, 2)),
    "colour.ppm": lambda path: path.write_bytes(b"P6 5 4 65535\n" + bytes(120)),
    "colour.tiff": lambda path: path.write_bytes(tiff(16, 3, 2)),
    "planes.tiff": lambda path: path.write_bytes(tiff(16, 3, 2, planar=2)),
    "white-is-zero.tiff": lambda path: path.write_bytes(tiff(16, 1, 0)),
    "signed.tiff": lambda path: path.write_bytes(tiff(16, 1, 1, sample_format=2)),
    "twelve.tiff": lambda path: path.write_bytes(tiff(12, 1, 1)),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_what_would_lose_depth_is_refused(tmp_path: Path, name: str) -> None:
    DEEP_FILES[name](tmp_path / name)
    for read in (inspect, lambda path: decode(path, "RGB"), lambda path: decode(path, "RGB", 16)):
        with pytest.raises(mosaic.DataError, match=rf"{name}'.*\b(12|16|32) bits"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("byte.tiff", (8, 1, 1, 2), "signed .*8 bits"),
        ("word.tiff", (16, 1, 1, 2), "signed .*16 bits"),
        ("white.tiff", (16, 1, 0, 1), "unsigned .*16 bits.* 0 for white"),
    ],
)
def test_numbers_that_cannot_be_read_are_said(
    tmp_path: Path, name: str, content: tuple[int, int, int, int], named: str
) -> None:
    (tmp_path / name).write_bytes(tiff(*content))
    with pytest.raises(mosaic.DataError, match=rf"'.*{name}'.*{named}"):
        inspect(tmp_path / name)


def png(colour: int, channels: int) -> bytes:
    """A PNG of 5 x 4 pixels with 16 bits a channel, of a colour type."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + bytes(10 * channels)) * 4
    header = struct.pack(">IIBBBBB", 5, 4, 16, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(bits: int, channels: int, photometric: int, sample_format: int = 1, planar: int = 1) -> bytes:
    """A TIFF of 5 x 4 pixels, not compressed; with planar 2 each channel by itself."""
    plane = bytes(20 * channels * 2 // (channels if planar == 2 else 1))
    planes = channels if planar == 2 else 1
    places, lengths = [400 + number * len(plane) for number in range(planes)], [len(plane)] * planes
    tags: dict[int, list[int]] = {256: [5], 257: [4], 258: [bits] * channels, 259: [1], 262: [photometric]}
    tags |= {273: places, 277: [channels], 278: [4], 279: lengths, 284: [planar], 339: [sample_format] * channels}
    entries, beside = b"", bytearray()
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            packed, beside = struct.pack("<I", 200 + len(beside)), beside + packed
        entries += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    content = (b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + beside
    return content.ljust(400, b"\0") + plane * planes


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_grey_is_found_at_every_depth(tmp_path: Path, depth: int) -> None:
    """One pixel of each of up to four greys, of which one is transparent, or none that is there."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    greys = list(range(min(2**depth, 4)))
    row = sum(grey << (8 * 4 - depth * (place + 1)) for place, grey in enumerate(greys)).to_bytes(4, "big")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", len(greys), 1, depth, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + row[: -(-len(greys) * depth // 8)])) + chunk(b"IEND", b"")
    for transparent in (*greys, None):
        hidden = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + hidden + pixels)
        if transparent is None:
            expected = [grey * 255 // (2**depth - 1) for grey in greys]
            assert decode(tmp_path / "a.png", "L").tolist() == [expected]
        else:
            with pytest.raises(mosaic.DataError, match="transparent"):
                decode(tmp_path / "a.png", "L")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.webp", "a.jpg"])
def test_images_are_read_the_way_up_that_they_are_seen(tmp_path: Path, name: str, orientation: int) -> None:
    stored = np.zeros((16, 24), np.uint8)  # blocks that JPEG keeps
    stored[:8, :8], stored[:8, 8:16], stored[8:, :8] = 255, 160, 80
    seen = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: stored[::-1].T,  # the first row is at the right: turned clockwise
        7: stored[::-1, ::-1].T,
        8: stored.T[::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"lossless": True} if name == "a.webp" else {"quality": 95} if name == "a.jpg" else {}
    Image.fromarray(stored).save(tmp_path / name, exif=exif, **more)
    assert inspect(tmp_path / name).size == seen.shape[::-1]
    difference = decode(tmp_path / name, "L").astype(int) - seen
    assert np.abs(difference).max() <= (4 if name == "a.jpg" else 0)


def test_sixteen_bits_are_turned_as_well(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(DEEP).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(decode(tmp_path / "a.png", "L", 16), DEEP[::-1].T)


def test_an_image_with_damaged_exif_data_is_read_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\0")
    np.testing.assert_array_equal(decode(tmp_path / "a.png", "L"), GREY)


def test_lab_colours_are_refused_and_not_called_transparent(tmp_path: Path) -> None:
    Image.fromarray(RGB, "LAB").save(tmp_path / "a.tiff")
    for read in (inspect, lambda path: decode(path, "RGB")):
        with pytest.raises(mosaic.DataError, match=r"a\.tiff'.*LAB") as caught:
            read(tmp_path / "a.tiff")
        assert "transparent" not in str(caught.value)


def test_frames_and_pages_are_counted(tmp_path: Path) -> None:
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    for name in ("a.tiff", "a.webp", "a.png"):
        more = {"lossless": True} if name == "a.webp" else {}
        first.save(tmp_path / name, save_all=True, append_images=[second, first], **more)
        assert inspect(tmp_path / name).frames == 3
        np.testing.assert_array_equal(decode(tmp_path / name, "RGB"), RGB)


@pytest.mark.filterwarnings("error")
def test_pillows_warnings_are_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15)  # a decompression bomb, almost
    assert inspect(tmp_path / "a.png").size == (5, 4)
    np.testing.assert_array_equal(decode(tmp_path / "a.png", "L"), GREY)


@pytest.mark.parametrize("keep", [0, 20, 45], ids=["empty", "header", "pixels"])
def test_a_damaged_image_is_named(tmp_path: Path, keep: int) -> None:
    Image.fromarray(GREY).save(tmp_path / "bad.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "bad.png").read_bytes()[:keep])
    with pytest.raises(mosaic.DataError, match=r"bad\.png'"):
        decode(tmp_path / "bad.png", "L")


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    for read in (inspect, lambda path: decode(path, "L")):
        with pytest.raises(mosaic.DataError, match=r"lost\.png'"):
            read(tmp_path / "lost.png")


def test_formats_that_other_programs_decode_are_not_tried(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(mosaic.DataError, match=r"a\.png'"):
        decode(tmp_path / "a.png", "L")
    Image.new("L", (4, 4), 7).save(tmp_path / "a.webp", lossless=True)
    assert decode(tmp_path / "a.webp", "RGB").shape == (4, 4, 3)
