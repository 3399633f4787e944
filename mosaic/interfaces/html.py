"""What objects show in a notebook: small tables and pictures, in which all text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

from mosaic.progress import printable

__all__ = ["picture", "table"]

STYLE = "text-align: left; vertical-align: top"


def table(title: str, rows: Mapping[str, object]) -> str:
    """Write a table of names and values in HTML, below a title; everything is text, and is escaped.

    Parameters
    ----------
    title : str
        What the table describes.
    rows : mapping
        A value for each name, shown as `str` does. Line breaks of a value stay; rows of the value None are left out.
    """
    lines = [
        f'<tr><th style="{STYLE}">{_text(name)}</th>'
        f'<td style="{STYLE}">{"<br>".join(map(_text, str(value).split(chr(10))))}</td></tr>'
        for name, value in rows.items()
        if value is not None
    ]
    return f"<div><strong>{_text(title)}</strong><table>{''.join(lines)}</table></div>"


def picture(png: bytes, description: str) -> str:
    """Put a PNG file into HTML, described for those who do not see it; pixels stay squares where it is enlarged."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{_text(description)}" style="image-rendering: pixelated">'


def _text(value: object) -> str:
    return escape(printable(str(value)))
