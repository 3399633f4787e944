"""Lists of image files by class, made before any of them is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mosaic
from mosaic_data.image_file import Encoded
from mosaic_data.image_search import ImageSearch, find_images
from mosaic_data.text import readable

__all__ = ["Listing", "class_notes", "labels_of", "list_folder", "state_of"]


@dataclass(frozen=True)
class Listing:
    """Image files, before any of them is decoded: which, of which class, and what is to be said of them."""

    files: Sequence[Encoded]
    names: Sequence[str]
    labels: Tensor | None
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def labels_of(by_class: Mapping[str, Sequence[Any]]) -> Tensor | None:
    """Number the class of each file; None if the files lie in no class folders."""
    if list(by_class) == [""]:
        return None
    sizes = torch.tensor([len(files) for files in by_class.values()], dtype=torch.int64, device="cpu")
    return torch.arange(len(by_class), dtype=torch.int64, device="cpu").repeat_interleave(sizes)


def list_folder(root: Path) -> Listing:
    """Find the images below a folder."""
    search = ImageSearch(root)
    by_class = find_images(search)
    files = [file for members in by_class.values() for file in members]
    names = [readable(file.relative_to(root)) for file in files]
    repeated = len(files) - len({(status.st_dev, status.st_ino) for status in map(Path.stat, files)})
    links = f"{repeated} of {len(files)} images are links to files that are read, too; each is an image."
    labels = labels_of(by_class)
    classes = () if labels is None else tuple(by_class)
    notes = (*search.notes(), *class_notes(list(by_class)), *([links] if repeated else []))
    return Listing(files, names, labels, classes, notes)


def state_of(listing: Listing) -> str:
    """Digest the states of all files."""
    digest = hashlib.sha256()
    for file in listing.files:
        digest.update(f"{mosaic.file_state(Path(str(file)))}\n".encode())
    return digest.hexdigest()


def class_notes(classes: list[str]) -> list[str]:
    """Say that class folders which are numbers are in another order than numbers."""
    if not all(name.isdecimal() for name in classes) or classes == sorted(classes, key=int):
        return []
    place = next(place for place, name in enumerate(sorted(classes, key=int)) if classes[place] != name)
    return [
        f"Classes are in the order of their names as text, so label {place} is the class '{classes[place]}'; name them "
        "00, 01, ... for the order of numbers."
    ]
