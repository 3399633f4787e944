"""HTML of objects in notebooks: nothing that a name holds is obeyed."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from mosaic.interfaces.html import brightness, levels, pictures, table

HOSTILE = '<script>a & "b"</script>\x1b\u202e'
SHOWN = '<script>a & "b"</script>\\x1b\\u202e'


def test_a_table_holds_texts_only() -> None:
    page = ET.fromstring(table(HOSTILE, {HOSTILE: HOSTILE, "two": 2, "none": None}))
    assert {element.tag for element in page.iter()} == {"div", "strong", "table", "tr", "th", "td"}
    texts = [text for element in page.iter() if (text := element.text)]
    assert texts == [SHOWN, SHOWN, SHOWN, "two", "2"]


def test_lines_of_a_value_stay() -> None:
    cell = ET.fromstring(table("t", {"a": "1\n<2>"}).replace("<br>", "<br/>")).find(".//td")
    assert cell is not None
    assert list(cell.itertext()) == ["1", "<2>"]


def test_pixels_are_bright_between_low_and_high() -> None:
    image = np.array([[[-3.0, -1.0, 0.0, 1.0, 2.0]]], np.float32)
    assert brightness(image, -1, 1).tolist() == [[[0, 0, 0.5, 1, 1]]]
    assert levels(image, -1, 1).tolist() == levels(image.repeat(2, 0), -1, 1).tolist() == [[0, 0, 128, 255, 255]]
    assert levels(image.repeat(3, 0), -1, 1).tolist() == [[[level] * 3 for level in (0, 0, 128, 255, 255)]]


@pytest.mark.parametrize(("channels", "side"), [(1, 5), (2, 5), (3, 5), (3, 150)])
def test_pictures_show_low_as_black_and_high_as_white(channels: int, side: int) -> None:
    images = torch.full((3, channels, side, 2 * side), 0.0)
    images[1] = 4.0
    images[2] = 2.0
    image = ET.fromstring(pictures(images, 0.0, 4.0, HOSTILE).replace('pixelated">', 'pixelated"/>'))
    assert image.attrib["alt"] == SHOWN
    with Image.open(BytesIO(base64.b64decode(image.attrib["src"].partition(",")[2]))) as strip:
        assert strip.height == min(side, 32)
        width = 2 * strip.height
        gap = (strip.width - 3 * width) // 2
        assert strip.width == 3 * width + 2 * gap
        centres = [strip.getpixel((place * (width + gap) + width // 2, strip.height // 2)) for place in range(3)]
    assert centres == [(0, 0, 0), (255, 255, 255), (128, 128, 128)]
