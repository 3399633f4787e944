"""The picture beside a result: written last, and never at the cost of another file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save_beside"]


def save_beside(figure: Figure, path: Path, replaceable: Collection[Path]) -> Path:
    """Write the picture of the result that is kept at `path`, beside it; gives the picture's path.

    Parameters
    ----------
    figure : Figure
        What it shows.
    path : Path
        Of the result.
    replaceable : collection of Path
        `Output.replaceable()`, from before the work began.

    Raises
    ------
    WriteError
        If it cannot be written, or something else is there by now; it says that the result is kept.
    """
    from mosaic.disk.failures import WriteError
    from mosaic.view.images import save_figure

    picture = path.with_suffix(".png")
    try:
        save_figure(figure, picture, picture in replaceable)
    except WriteError as error:
        raise WriteError(f"{error} The result itself is kept in '{path}'; `resume` only draws it.") from None
    return picture
