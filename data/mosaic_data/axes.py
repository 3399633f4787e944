"""Which axis of an array of images is which: N images, C channels, H rows, W columns."""

from __future__ import annotations

from pathlib import Path

import mosaic
from mosaic_data.text import listed

__all__ = ["AXES", "layout_of"]

AXES = {
    "N": (
        *("n", "sample", "samples", "image", "images", "index", "batch", "example", "examples", "item", "items"),
        *("time", "t"),
    ),
    "C": ("c", "channel", "channels", "band", "bands", "color", "colors", "colour", "colours", "rgb"),
    "H": ("h", "height", "y", "row", "rows", "lat", "latitude"),
    "W": ("w", "width", "x", "column", "columns", "col", "cols", "lon", "longitude"),
}
"""Names of axes, in any case of letters."""

CHANNELS = (1, 3)


def layout_of(shape: tuple[int, ...], dims: tuple[str, ...], wanted: str, path: Path) -> tuple[str, list[str]]:
    """Find the layout, such as NHWC: by the names of the axes, else as `wanted`, else (`auto`) by the shape.

    Parameters
    ----------
    shape, dims
        Lengths and names of the axes; no names where the file has none.
    wanted : str
        The setting `layout`.

    Returns
    -------
    layout : str
        A letter for each axis.
    notes : list of str
        What was guessed, if it may be wrong.

    Raises
    ------
    DataError
        If names and `wanted` contradict each other, or the shape does not decide.
    """
    roles = [_role(name) for name in dims] or [""] * len(shape)
    named = _by_name(shape, dims, roles, wanted, path) if roles.count("") <= 1 else None
    layout = named or (_by_shape(shape, path) if wanted == "auto" else wanted)
    if len(layout) != len(shape):
        raise mosaic.DataError(f"'{path}': images of shape {shape} do not fit `dataset.layout={wanted}`.")
    agrees = all(role in ("", axis) for role, axis in zip(roles, layout, strict=True))
    if not agrees or wanted not in ("auto", layout):
        claim = (
            f"the layout {layout}, which their shape suggests," if wanted == "auto" else f"`dataset.layout={wanted}`"
        )
        raise mosaic.DataError(
            f"'{path}': {claim} contradicts the names of the axes of 'images' ({listed(dims)}); rename "
            "them, such as sample, channel, height, width, or leave `dataset.layout=auto`."
        )
    return layout, [] if named or wanted != "auto" else _doubts(shape, dims, layout)


def _role(name: str) -> str:
    """Letter of the axis that a name means; empty if it is unknown."""
    return next((axis for axis, names in AXES.items() if name.lower() in names), "")


def _by_name(shape: tuple[int, ...], dims: tuple[str, ...], roles: list[str], wanted: str, path: Path) -> str:
    """Take the layout from the names, of which at most one is unknown: that is the axis that is lacking."""
    missing = set("NCHW" if len(roles) == 4 else "NHW") - set(roles)
    if len(roles) in (3, 4) and len(missing) == roles.count(""):  # so each axis is there once
        layout = "".join(role or next(iter(missing)) for role in roles)
        if missing != {"C"} or wanted != "auto" or shape[layout.index("C")] in CHANNELS:
            return layout
    raise mosaic.DataError(
        f"'{path}': the axes of 'images' are named {listed(dims)}; they must be images, rows and columns, and maybe "
        "channels, each once, such as sample, channel, height, width; rename them (one image needs an axis `sample`)."
    )


def _by_shape(shape: tuple[int, ...], path: Path) -> str:
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise mosaic.DataError(f"'{path}': images of shape {shape} are not NHW, NHWC or NCHW; reshape them.")
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        which = "both the second and the last" if first else "neither the second nor the last"
        raise mosaic.DataError(
            f"'{path}': in images of shape {shape} {which} axis may be the channels (of length 1 or 3); "
            "say which with `dataset.layout=NCHW` or `dataset.layout=NHWC`."
        )
    return "NCHW" if first else "NHWC"


def _doubts(shape: tuple[int, ...], dims: tuple[str, ...], layout: str) -> list[str]:
    """Say why a layout that was taken from the shape may be wrong."""
    if dims:
        return [
            f"The axes of 'images' ({listed(dims)}) were read as {layout}, which their names do not say. Name them "
            f"sample, channel, height, width; or `dataset.layout={layout}` says so."
        ]
    count, height, width = shape[0], shape[layout.index("H")], shape[layout.index("W")]
    is_colour_first = min(height, width) > 4 and (count == 3 or (count == 4 and height != width))
    if len(shape) == 3 and count > 1 and (is_colour_first or width in (3, 4)):
        return [
            f"An array of shape {shape} was read as {count} grey images of {height} x {width} pixels. If it is one "
            f"colour image, save it with the shape {(1, *shape)}; if not, `dataset.layout=NHW` says so."
        ]
    if layout != "NCHW" and 1 < count == height != width:
        return [
            f"An array of shape {shape} was read as {count} images of {height} x {width} pixels. If it is {width} "
            f"images of {count} x {height}, move their axis to the front; if not, `dataset.layout={layout}` says so."
        ]
    return []
