"""The images of a zip file, as EDM and StyleGAN write them, or of a zipped folder."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import torch
from torch import Tensor

import mosaic
from mosaic_data.image_listing import Listing, class_notes, labels_of
from mosaic_data.image_search import EXTENSIONS, LITTER, SYSTEM_FOLDERS
from mosaic_data.text import error_line, listed

__all__ = ["Member", "list_zip"]

LABELS = "dataset.json"
MOST_CLASSES = 65_536


@dataclass(frozen=True)
class Member:
    """An image in an archive."""

    archive: zipfile.ZipFile
    name: str

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:
        """Open it, to be read from the start."""
        return self.archive.open(self.name)

    def __str__(self) -> str:
        return f"{self.archive.filename}/{self.name}"


def list_zip(path: Path) -> Listing:
    """List the images of a zip file, in the order of their names.

    Labels are those of its `dataset.json`, {"labels": [[name, class], ...]}; without that file, classes are the
    folders at its top, if images lie in such.

    Raises
    ------
    DataError
        If it is not a zip file, holds no images, or images in folders and beside them, or labels that are not integers,
        one for each image.
    """
    try:
        archive = zipfile.ZipFile(path)
        names = sorted(filter(_is_image, archive.namelist()), key=lambda name: PurePosixPath(name).parts)
        said = json.loads(archive.read(LABELS)) if LABELS in archive.namelist() else None
    except Exception as error:  # zipfile, zlib and json each raise kinds of their own for a damaged file
        raise mosaic.DataError(f"'{path}' cannot be read as a zip file of images ({error_line(error)}).") from None
    if not names:
        raise mosaic.DataError(f"'{path}' holds no images; looked for {', '.join(EXTENSIONS)}.")
    files = [Member(archive, name) for name in names]
    if said is not None:
        labels = _labels_said(said, names, path)
        classes = () if labels is None else tuple(str(label) for label in range(int(labels.max()) + 1))
        return Listing(files, names, labels, classes, ())
    by_class: dict[str, list[str]] = {}
    for name in names:
        by_class.setdefault(name.partition("/")[0] if "/" in name else "", []).append(name)
    if "" in by_class and len(by_class) > 1:
        raise mosaic.DataError(
            f"'{path}' holds images directly ({by_class[''][0]}, ...) and in class folders; move them into class "
            f"folders, or say their labels in a file {LABELS}."
        )
    labels = labels_of(by_class)
    return Listing(files, names, labels, () if labels is None else tuple(by_class), tuple(class_notes(list(by_class))))


def _is_image(name: str) -> bool:
    parts = [part.lower() for part in PurePosixPath(name).parts]
    is_hidden = any(part.startswith(".") or part in SYSTEM_FOLDERS or part in LITTER for part in parts)
    return name.lower().endswith(EXTENSIONS) and not is_hidden


def _labels_said(said: Any, names: list[str], path: Path) -> Tensor | None:
    """Labels of the images, by what `dataset.json` says; None if it says that there are none."""
    pairs = said.get("labels") if isinstance(said, dict) else None
    if pairs is None:
        return None
    try:
        labels = dict(pairs)
    except (TypeError, ValueError):
        labels = {}
    missing = [name for name in names if type(labels.get(name)) is not int or not 0 <= labels[name] < MOST_CLASSES]
    if missing:
        raise mosaic.DataError(
            f"'{path}': {LABELS} gives {len(missing)} of {len(names)} images no class from 0 to {MOST_CLASSES - 1} "
            f"({listed(missing, 2)}); its `labels` must be pairs of a name and an integer, or null."
        )
    return torch.tensor([labels[name] for name in names], dtype=torch.int64, device="cpu")
