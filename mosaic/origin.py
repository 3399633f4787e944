"""By which code a result was made."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from mosaic.checkpoint import load_checkpoint
from mosaic.entry import core_digest

__all__ = ["is_of_other_code"]


def is_of_other_code(path: Path) -> bool:
    """Tell whether a stored file, or a network's folder, was made by other code of mosaic than runs now.

    Versions and configuration are compared when it is used again; a change of the code itself makes it no other run,
    but its numbers may no longer be what they would be.
    """
    if path.is_dir():
        return bool(load_checkpoint(path).description.get("code") != core_digest())
    with xr.open_dataset(path) as stored:
        return bool(stored.attrs.get("code") != core_digest())
