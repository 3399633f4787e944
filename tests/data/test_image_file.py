"""Image files: their kinds and sizes, their pixels, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mosaic
from mosaic_data.image_file import decode, inspect

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "L"), ("L", "L"), ("LA", "L"), ("P", "RGB"), ("RGB", "RGB"), ("RGBA", "RGB")]
)
def test_an_image_is_grey_or_of_any_other_kind(tmp_path: Path, mode: str, kind: str) -> None:
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    assert inspect(tmp_path / "a.png") == (kind, (5, 4))


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


@pytest.mark.parametrize("pixels", [GREY.astype(np.uint16) * 200, GREY.astype(np.float32)], ids=["I;16", "F"])
def test_more_than_eight_bits_a_channel_are_refused_with_the_mode(tmp_path: Path, pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels)
    image.save(tmp_path / "deep.tiff")
    with pytest.raises(mosaic.DataError, match=rf"deep\.tiff'.*{image.mode}"):
        inspect(tmp_path / "deep.tiff")


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
