"""The images under a folder, by class: which files they are, and what is left out."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import mosaic
from mosaic_data.text import readable, utf8_name

__all__ = ["EXTENSIONS", "ImageSearch", "find_images"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""File names looked for, in any case: those of torchvision's ImageFolder."""

LITTER = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"}
"""Files that systems leave everywhere; not worth a word."""

SYSTEM_FOLDERS = {"@eadir", "__macosx", "$recycle.bin", "system volume information"}
"""Folders of thumbnails and the like, beside those whose names start with a dot."""


@dataclass
class ImageSearch:
    """A search below `root`, which visits each folder once, by whatever links it is reached.

    Attributes
    ----------
    root : Path
        The folder.
    left_out : dict
        What was found and is not used, by reason: its names, counted.
    """

    root: Path
    left_out: dict[str, Counter[str]] = field(default_factory=dict)
    _visited: set[tuple[int, int]] = field(default_factory=set)

    def scan(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Give the images directly in a folder, and the folders, both sorted.

        Raises
        ------
        DataError
            If it cannot be listed.
        """
        images, folders = [], []
        try:
            for path in sorted(folder.iterdir()):
                kind = self._kind(path)
                if kind == "folder":
                    folders.append(path)
                elif kind == "image":
                    images.append(path)
        except OSError as error:
            raise mosaic.DataError(
                f"Folder '{folder}' cannot be listed ({error.strerror}); allow that, or take it out."
            ) from error
        return images, folders

    def _kind(self, path: Path) -> str:
        """Say what a path is; what is left out is counted."""
        name, ending = path.name.lower(), path.suffix.lower()
        if name in LITTER:
            return "litter"
        if name.startswith(".") or (name in SYSTEM_FOLDERS and path.is_dir()):
            return self._leave_out("hidden or thumbnails", readable(Path(path.name)))
        if path.is_dir():
            return "folder"
        if not path.is_file():
            return self._leave_out("neither files nor folders, such as links to nothing", readable(Path(path.name)))
        return "image" if ending in EXTENSIONS else self._leave_out("files of other endings", ending or "no ending")

    def _leave_out(self, reason: str, name: str) -> str:
        self.left_out.setdefault(reason, Counter())[name] += 1
        return "left out"

    def is_new(self, folder: Path) -> bool:
        """Visit a folder; False if it has been visited."""
        status = folder.stat()
        key = (status.st_dev, status.st_ino)
        if key in self._visited:
            return False
        self._visited.add(key)
        return True

    def below(self, classes: dict[str, Path]) -> dict[str, list[Path]]:
        """Find the images in and below class folders, sorted."""
        by_class: dict[str, list[Path]] = {name: [] for name in classes}
        # Folders come before links to folders, so that an image is of the class in whose folder it lies.
        folders, links = deque(classes.items()), deque[tuple[str, Path]]()
        while folders or links:
            name, folder = (folders or links).popleft()
            if folder != classes[name] and not self.is_new(folder):
                self._leave_out("folders that are read already", readable(folder.relative_to(self.root)))
                continue
            images, more = self.scan(folder)
            by_class[name] += images
            for path in more:
                (links if path.is_symlink() else folders).append((name, path))
        return {name: sorted(images) for name, images in by_class.items()}

    def notes(self) -> list[str]:
        """Say what was left out."""
        parts = []
        for reason, names in self.left_out.items():
            few = ", ".join(name if count == 1 else f"{count} {name}" for name, count in names.most_common(4))
            parts.append(f"{reason}: {names.total()} ({few}{', ...' if len(names) > 4 else ''})")
        return [f"Left out of '{readable(self.root)}': {'; '.join(parts)}."] if parts else []


def find_images(search: ImageSearch) -> dict[str, list[Path]]:
    """Find the images by class, sorted; the one class is "" where the root holds them directly.

    Raises
    ------
    DataError
        If there are none, or some are in class folders and some are not, or a class folder is empty, the same as
        another or without a name in UTF-8, or a folder cannot be listed.
    """
    root = search.root
    loose, folders = search.scan(root)
    by_class = search.below(_class_folders(search, folders))
    if not any(by_class.values()):
        if not loose:
            raise mosaic.DataError(
                f"Folder '{root}' holds no images, neither directly nor in class folders; "
                f"looked for {', '.join(EXTENSIONS)}.{_seen(search)}"
            )
        return {"": loose}
    if loose:
        raise mosaic.DataError(
            f"Folder '{root}' holds images directly ({loose[0].name}, ...) and in class folders; "
            "move them into class folders, or all out of them."
        )
    empty = [name for name, members in by_class.items() if not members]
    if empty:
        raise mosaic.DataError(
            f"Class folder '{root / empty[0]}' holds no images; fill or remove it (looked for "
            f"{', '.join(EXTENSIONS)}).{_seen(search)}"
        )
    return by_class


def _class_folders(search: ImageSearch, folders: list[Path]) -> dict[str, Path]:
    """Name the class folders."""
    search.is_new(search.root)
    classes: dict[str, Path] = {}
    for folder in folders:
        if not search.is_new(folder):
            raise mosaic.DataError(
                f"Class folder '{folder}' is a link to another class folder or to '{search.root}' itself, so its "
                "images would be of two classes; remove the link."
            )
        classes[utf8_name(folder)] = folder
    return classes


def _seen(search: ImageSearch) -> str:
    return "".join(f" {note}" for note in search.notes())
