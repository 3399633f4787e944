"""The data set `folder`: image files, one subfolder a class."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

import mosaic
from mosaic_data.image_file import decode, inspect

__all__ = ["EXTENSIONS", "ImageFolder", "find_images"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""File names looked for, in any case: those of torchvision's ImageFolder."""


class ImageFolder(mosaic.DataSource):
    """The images under a folder: a subfolder for each class, or images directly and no labels.

    Images keep their size, which must be the same for all. They are grey if all are, else RGB.
    """

    name = "folder"

    class Options(mosaic.DataSetOptions):
        """The folder, which must be given; ~ is the home directory."""

        path: Path = Field(description="Folder with one subfolder of images a class, or with images directly.")

    def available(self) -> str | None:
        """Say that the folder does not exist; None if it does."""
        path = self.options.path.expanduser()
        return None if path.is_dir() else f"there is no folder '{path}'"

    def read(self) -> mosaic.DataSet:
        """Read all images: (N, 1 or 3, H, W), range [-1, 1]; classes are the subfolders by name.

        Raises
        ------
        DataError
            If the folder is missing or holds no images, or an image is damaged or differs in size.
        """
        root = self.options.path.expanduser()
        if not root.is_dir():
            raise mosaic.DataError(f"There is no folder '{root}'; give dataset.path the folder that holds the images.")
        by_class = find_images(root)
        files = [file for members in by_class.values() for file in members]
        labelled = list(by_class) != [""]
        sizes = torch.tensor([len(members) for members in by_class.values()], dtype=torch.int64, device="cpu")
        numbers = torch.arange(len(sizes), dtype=torch.int64, device="cpu")
        return mosaic.DataSet(
            name=self.name,
            images=_read_pixels(files).float().div_(127.5).sub_(1),
            labels=numbers.repeat_interleave(sizes) if labelled else None,
            classes=tuple(by_class) if labelled else (),
            origin=str(root.resolve()),
        )


def find_images(root: Path) -> dict[str, list[Path]]:
    """Find the images under `root` by class, sorted; the one class is "" where `root` holds them directly.

    Raises
    ------
    DataError
        If there are none, or some are in class folders and some are not, or a class folder is empty.
    """
    loose = sorted(path for path in root.iterdir() if _is_image(path))
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    by_class = {folder.name: _images_below(folder) for folder in folders}
    if not any(by_class.values()):
        if not loose:
            raise mosaic.DataError(
                f"Folder '{root}' holds no images, neither directly nor in class folders; "
                f"looked for {', '.join(EXTENSIONS)}."
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
            f"Class folder '{root / empty[0]}' holds no images; fill or remove it (looked for {', '.join(EXTENSIONS)})."
        )
    return by_class


def _images_below(folder: Path) -> list[Path]:
    walk = os.walk(folder, followlinks=True)
    return sorted(
        path for parent, _, names in walk for path in (Path(parent, name) for name in names) if _is_image(path)
    )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and path.is_file()


def _read_pixels(files: list[Path]) -> Tensor:
    """Decode images of one size: uint8, (N, 1, H, W) if all are grey, else (N, 3, H, W)."""
    kinds = [inspect(file) for file in files]
    width, height = kinds[0][1]
    for file, (_, size) in zip(files, kinds, strict=True):
        if size != (width, height):
            raise mosaic.DataError(
                f"Images must be of one size, but '{files[0]}' is {width} x {height} and '{file}' is "
                f"{size[0]} x {size[1]} pixels; resize or crop them first."
            )
    grey = all(mode == "L" for mode, _ in kinds)
    pixels = torch.empty(len(files), height, width, 1 if grey else 3, dtype=torch.uint8, device="cpu")
    for index, file in enumerate(files):
        pixels[index] = torch.from_numpy(decode(file, "L" if grey else "RGB")).reshape(height, width, -1)
    return pixels.permute(0, 3, 1, 2).contiguous()
