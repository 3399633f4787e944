"""By which code a result was made."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import xarray as xr

from mosaic.checkpoint import load_checkpoint

__all__ = ["core_digest", "is_of_other_code"]


@cache
def core_digest() -> str:
    """First digits of the SHA-256 of all modules of the core and of its own plugins, names and contents."""
    digest = hashlib.sha256()
    for package in ("mosaic", "mosaic_plugins"):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec is not None else []:
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{file.relative_to(folder).as_posix()}".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def is_of_other_code(path: Path) -> bool:
    """Tell whether a stored file, or a network's folder, was made by other code of mosaic than runs now.

    Versions and configuration are compared when it is used again; a change of the code itself makes it no other run,
    but its numbers may no longer be what they would be.
    """
    if path.is_dir():
        return bool(load_checkpoint(path).description.get("code") != core_digest())
    with xr.open_dataset(path) as stored:
        return bool(stored.attrs.get("code") != core_digest())
