"""HTML of objects in notebooks: nothing that a name holds is obeyed."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET

from mosaic.interfaces.html import picture, table

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


def test_a_picture_holds_the_bytes() -> None:
    image = ET.fromstring(picture(b"\x89PNG", HOSTILE).replace('pixelated">', 'pixelated"/>'))
    assert image.attrib["alt"] == SHOWN
    assert base64.b64decode(image.attrib["src"].partition(",")[2]) == b"\x89PNG"
