"""The data set `folder`: image files, one subfolder a class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

import mosaic
from mosaic_data.image_file import ImageKind, decode, inspect
from mosaic_data.image_search import ImageSearch, find_images
from mosaic_data.pixel_range import dark_note
from mosaic_data.resize import Resize, resample, resampled_shape
from mosaic_data.text import readable

__all__ = ["ImageFolder"]

Side = Annotated[int, Field(ge=1, le=4096)]


class ImageFolder(mosaic.DataSource):
    """The images under a folder: a subfolder for each class, or images directly and no labels.

    Images keep their size, which must be the same for all, or are resized to `size`. They are grey if all are, else
    RGB. Hidden files and folders are left out; each folder is visited once.
    """

    name = "folder"
    reads_subset = True

    class Options(mosaic.DataSetOptions):
        """The folder, which must be given; ~ is the home directory."""

        path: Path = Field(description="Folder with one subfolder of images a class, or with images directly.")
        size: tuple[Side, Side] | None = Field(
            None,
            description="Height and width that images are resized to, in pixels; one number for both. Default: images "
            "stay as they are, and must be of one size.",
        )
        resize: Resize | None = Field(
            None,
            description="How images of another shape become that size. fit: stretched; crop: scaled until the shorter "
            "side fits, the middle kept; pad: scaled until the longer side fits, borders black. Default: fit.",
        )

        @field_validator("size", mode="before")
        @classmethod
        def _one_for_both(cls, size: Any) -> Any:
            sides = [size] if isinstance(size, Integral) else size
            return [*sides, *sides] if isinstance(sides, (list, tuple)) and len(sides) == 1 else sides

        @model_validator(mode="after")
        def _resizes_to_a_size(self) -> Self:
            if self.size is None and self.resize is not None:
                raise ValueError(f"resize {self.resize} would not be used without size; say which, as in size=32")
            return self

    def available(self) -> str | None:
        """Say that the folder does not exist; None if it does."""
        path = self.options.path.expanduser()
        return None if path.is_dir() else f"there is no folder '{path}'"

    def read(self) -> mosaic.DataSet:
        """Read the images that `limit` and `skip` choose: (N, 1 or 3, H, W), range [-1, 1].

        Classes are the subfolders, by name.

        Raises
        ------
        DataError
            If the folder is missing, cannot be listed or holds no images, or an image is damaged, or differs in size
            where none is asked for, or they take more memory than there is.
        """
        root = self.options.path.expanduser()
        if not root.is_dir():
            raise mosaic.DataError(f"There is no folder '{root}'; give dataset.path the folder that holds the images.")
        search = ImageSearch(root)
        by_class = find_images(search)
        files = [file for members in by_class.values() for file in members]
        labels, kinds = _labels_of(by_class), [inspect(file) for file in files]
        if self.options.size is None:
            _check_sizes(files, kinds)
        chosen = self.choose(len(files), labels)
        images, brightest = self._decoded(files, kinds, chosen.tolist())
        return mosaic.DataSet(
            name=self.name,
            images=images,
            labels=None if labels is None else labels[chosen],
            classes=() if labels is None else tuple(by_class),
            origin=readable(root.resolve()),
            names=tuple(readable(files[index].relative_to(root)) for index in chosen.tolist()),
            notes=(
                *search.notes(),
                *_class_notes(list(by_class)),
                *_notes(files, kinds),
                *self._shape_notes([kinds[index] for index in chosen.tolist()]),
                *_dark_notes(brightest, len(chosen), len(files)),
            ),
        )

    def _decoded(
        self, files: Sequence[Path], kinds: Sequence[ImageKind], chosen: Sequence[int]
    ) -> tuple[Tensor, dict[int, int]]:
        """Decode and resize chosen images: (N, C, H, W) in [-1, 1]; and their brightest level, by bits of a pixel."""
        # Whether images are grey is decided by all of them, so that a subset has the channels of the whole.
        is_grey = all(kind.mode == "L" for kind in kinds)
        channels, (height, width) = 1 if is_grey else 3, self.options.size or kinds[0].size[::-1]
        largest = max(self._pixels_read(kinds[index]) for index in chosen)
        self.check_memory(len(chosen), (channels, height, width), 1024 * len(files) + 4 * channels * largest)
        images = torch.empty(len(chosen), channels, height, width, dtype=torch.float32, device="cpu")
        brightest = {8: 0, 16: 0}
        for row, index in enumerate(chosen):
            pixels, depth = _read(files[index], kinds[index], is_grey), kinds[index].depth
            brightest[depth] = max(brightest[depth], int(pixels.max()))
            resized = resample(pixels.float()[None], (height, width), self._how)[0]
            # The weights of a pixel sum to 1 only up to rounding.
            images[row] = resized.clamp_(0, 2**depth - 1).div_((2**depth - 1) / 2).sub_(1)
        return images, brightest

    @property
    def _how(self) -> Resize:
        return self.options.resize or "fit"

    def _pixels_read(self, kind: ImageKind) -> int:
        """Pixels that an image takes while it is read and resized, each of four bytes a channel."""
        shape = kind.size[::-1]
        if self.options.size is None:
            return 2 * math.prod(shape)
        height, width = resampled_shape(shape, self.options.size, self._how)
        return 2 * math.prod(shape) + (shape[0] + height) * width  # first one axis is resized, then the other

    def _shape_notes(self, kinds: Sequence[ImageKind]) -> list[str]:
        """Say that images are stretched though nobody asked for it."""
        if self.options.size is None or self.options.resize is not None:
            return []
        height, width = self.options.size
        stretched = sum(kind.size[0] * height != kind.size[1] * width for kind in kinds)
        note = (
            f"{stretched} of {len(kinds)} images are stretched to the shape {height} x {width}; `dataset.resize=crop` "
            "and `dataset.resize=pad` keep their proportions, `dataset.resize=fit` stretches without this note."
        )
        return [note] if stretched else []


def _labels_of(by_class: dict[str, list[Path]]) -> Tensor | None:
    """Number the class of each file; None if the files lie in no class folders."""
    if list(by_class) == [""]:
        return None
    sizes = torch.tensor([len(files) for files in by_class.values()], dtype=torch.int64, device="cpu")
    return torch.arange(len(by_class), dtype=torch.int64, device="cpu").repeat_interleave(sizes)


def _check_sizes(files: list[Path], kinds: list[ImageKind]) -> None:
    width, height = kinds[0].size
    for file, kind in zip(files, kinds, strict=True):
        if kind.size != (width, height):
            raise mosaic.DataError(
                f"Images must be of one size, but '{files[0]}' is {width} x {height} and '{file}' is "
                f"{kind.size[0]} x {kind.size[1]} pixels; say `dataset.size=32`, for example, and they are resized."
            )


def _read(file: Path, kind: ImageKind, is_grey: bool) -> Tensor:
    """Decode an image: int32 (C, H, W)."""
    pixels = torch.from_numpy(decode(file, "L" if is_grey else "RGB", kind.depth).astype("int32"))
    if tuple(pixels.shape[:2]) != kind.size[::-1]:
        height, width = pixels.shape[:2]
        raise mosaic.DataError(
            f"Image '{file}' is {width} x {height} pixels once decoded, not {kind.size[0]} x {kind.size[1]} as it "
            "says at its beginning; save it again."
        )
    return pixels[None] if is_grey else pixels.permute(2, 0, 1)


def _class_notes(classes: list[str]) -> list[str]:
    """Say that class folders which are numbers are in another order than numbers."""
    if not all(name.isdecimal() for name in classes) or classes == sorted(classes, key=int):
        return []
    place = next(place for place, name in enumerate(sorted(classes, key=int)) if classes[place] != name)
    return [
        f"Classes are in the order of their names as text, so label {place} is the class '{classes[place]}'; name them "
        "00, 01, ... for the order of numbers."
    ]


def _notes(files: list[Path], kinds: list[ImageKind]) -> list[str]:
    """Say what of the images is not read, or not read exactly."""
    several = [(file, kind.frames) for file, kind in zip(files, kinds, strict=True) if kind.frames > 1]
    printed = sum(kind.stored == "CMYK" for kind in kinds)
    repeated = len(files) - len({(status.st_dev, status.st_ino) for status in map(Path.stat, files)})
    notes = []
    if repeated:
        notes.append(f"{repeated} of {len(files)} images are links to files that are read, too; each is an image.")
    if several:
        file, frames = several[0]
        notes.append(
            f"Of images with several frames or pages only the first is read: {len(several)} of {len(files)} images "
            f"('{readable(file)}' has {frames})."
        )
    if printed:
        notes.append(f"{printed} of {len(files)} images are in CMYK colours; they become RGB without a colour profile.")
    return notes


def _dark_notes(brightest: dict[int, int], read: int, count: int) -> list[str]:
    """Say that pixels of the images read hardly use their range; images of which some do are as they should be."""
    notes = [
        dark_note(
            most,
            2**depth - 1,
            f"put the pixels into a .npz file and use the data set `file` with `dataset.range=0,{max(1, most)}`",
            read,
            count,
        )
        for depth, most in brightest.items()
        if most
    ]
    return [] if [] in notes else [note for of_depth in notes for note in of_depth]
