"""Data sets that are made from the user's own files."""

from __future__ import annotations

import mosaic
from mosaic_data.array_file import ArrayFile
from mosaic_data.image_folder import ImageFolder

__all__ = ["ArrayFile", "ImageFolder"]


@mosaic.hookimpl
def register_datasets(register: mosaic.Register) -> None:
    register(ImageFolder)
    register(ArrayFile)
