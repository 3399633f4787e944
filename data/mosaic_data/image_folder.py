"""The data set `folder`: image files, one subfolder a class, or those of a zip file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

import mosaic
from mosaic_data.image_file import Encoded, ImageKind, decode, inspect
from mosaic_data.image_listing import Listing, list_folder, state_of
from mosaic_data.pixel_range import dark_note
from mosaic_data.resize import Resize, resample, resampled_shape
from mosaic_data.stored_array import Array
from mosaic_data.text import readable
from mosaic_data.zip_images import list_zip

__all__ = ["ImageFolder"]

Side = Annotated[int, Field(ge=1, le=4096)]


class ImageFolder(mosaic.DataSource):
    """The images under a folder: a subfolder for each class, or images directly and no labels.

    Images keep their size, which must be the same for all, or are resized to `size`. They are grey if all are, else
    RGB. Hidden files and folders are left out; each folder is visited once. In place of the folder there may be a zip
    file of it; with a `dataset.json` as EDM and StyleGAN write it, labels are those that it says.

    Images that memory does not hold, and those of a zip file, are decoded once, into the cache folder: as uint8, or as
    float32 where they are resized or have 16 bits.
    """

    name = "folder"
    reads_subset = True

    class Options(mosaic.DataSetOptions):
        """The folder, which must be given; ~ is the home directory."""

        path: Path = Field(
            description="Folder with one subfolder of images a class, or with images directly; or a .zip file of it."
        )
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
        return None if path.is_dir() or path.is_file() else f"there is no folder '{path}'"

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
        if root.is_file():
            return self._decoded_once(root, mosaic.file_state(root), lambda: list_zip(root))
        if not root.is_dir():
            raise mosaic.DataError(
                f"There is no folder '{root}'; give dataset.path the folder that holds the images, or a .zip file."
            )
        listing = list_folder(root)
        count, kept = len(listing.files), self.kept(len(listing.files))
        # One image is looked at to tell what surely does not fit; all of them to tell what does.
        if self.fits(kept, self._shape([inspect(listing.files[0])]), 1024 * count):
            kinds = self._kinds(listing.files)
            chosen = self.choose(count, listing.labels).tolist()
            shape, more = self._shape(kinds), 1024 * count + self._most_bytes([kinds[index] for index in chosen])
            if not self.fits(0, shape, more):  # pieces would not fit either
                self.check_memory(kept, shape, more)
            if self.fits(kept, shape, more):
                return self._in_memory(root, listing, kinds, chosen)
        return self._decoded_once(root, [readable(root.resolve()), state_of(listing)], lambda: listing)

    def _in_memory(
        self, root: Path, listing: Listing, kinds: Sequence[ImageKind], chosen: Sequence[int]
    ) -> mosaic.DataSet:
        images = torch.empty(len(chosen), *self._shape(kinds), dtype=torch.float32, device="cpu")
        brightest = {8: 0, 16: 0}
        for row, (pixels, depth) in enumerate(self._pixels(listing, kinds, chosen, brightest)):
            images[row] = self._unit(pixels, depth)
        notes = self._notes_on(listing, kinds, chosen, brightest)
        return mosaic.DataSet(
            name=self.name,
            images=images,
            labels=None if listing.labels is None else listing.labels[chosen],
            classes=listing.classes,
            origin=readable(root.resolve()),
            names=tuple(listing.names[index] for index in chosen),
            notes=tuple(notes),
        )

    def _decoded_once(self, root: Path, state: object, listed: Callable[[], Listing]) -> mosaic.DataSet:
        """Give the images from the cache folder, decoded and listed now if they are not there."""
        options = self.options.model_dump(mode="json", exclude={"path"})

        def decode() -> mosaic.Decoded:
            listing = listed()
            kinds = self._kinds(listing.files)
            chosen = self.choose(len(listing.files), listing.labels).tolist()
            count, *rest = len(chosen), *self._shape(kinds)
            self.check_memory(0, rest, self._most_bytes([kinds[index] for index in chosen]))
            is_exact = self.options.size is None and all(kind.depth == 8 for kind in kinds)
            brightest = {8: 0, 16: 0}

            def blocks() -> Iterator[Array]:
                for pixels, depth in self._pixels(listing, kinds, chosen, brightest):
                    numbers = pixels.to(torch.uint8) if is_exact else self._unit(pixels, depth)
                    yield numbers[None].numpy()

            def about() -> dict[str, Any]:
                return {
                    "names": [listing.names[index] for index in chosen],
                    "labels": None if listing.labels is None else listing.labels[chosen].tolist(),
                    "classes": listing.classes,
                    "notes": self._notes_on(listing, kinds, chosen, brightest),
                }

            channels, height, width = rest
            dtype = np.uint8 if is_exact else np.float32
            return mosaic.Decoded((count, channels, height, width), np.dtype(dtype), blocks(), about)

        source, about = mosaic.cached_images({"what": "folder 1", "files": state, "options": options}, decode)
        labels = about["labels"]
        images: mosaic.Images = source
        if self.fits(len(source), source.shape[1:]):
            images = source[:]
        else:
            about["notes"].append(self.pieces_note(len(source), source.shape[1:]))
        return mosaic.DataSet(
            name=self.name,
            images=images,
            labels=None if labels is None else torch.tensor(labels, dtype=torch.int64, device="cpu"),
            classes=tuple(about["classes"]),
            origin=readable(root.resolve()),
            names=tuple(about["names"]),
            notes=tuple(about["notes"]),
        )

    def _kinds(self, files: Sequence[Encoded]) -> list[ImageKind]:
        """Look at all files; refuse sizes that differ where none is asked for."""
        kinds = [inspect(file) for file in files]
        if self.options.size is None:
            _check_sizes(files, kinds)
        return kinds

    def _shape(self, kinds: Sequence[ImageKind]) -> tuple[int, int, int]:
        """Channels, height and width of the images; a subset has the channels of the whole."""
        height, width = self.options.size or kinds[0].size[::-1]
        return 1 if _are_grey(kinds) else 3, height, width

    def _most_bytes(self, kinds: Sequence[ImageKind]) -> int:
        """Bytes that the largest image takes while it is read."""
        return 4 * (1 if _are_grey(kinds) else 3) * max(map(self._pixels_read, kinds))

    def _pixels(
        self, listing: Listing, kinds: Sequence[ImageKind], chosen: Sequence[int], brightest: dict[int, int]
    ) -> Iterator[tuple[Tensor, int]]:
        """Decode chosen images one by one: int32 (C, H, W), and bits of a pixel, of which it notes the brightest."""
        is_grey = _are_grey(kinds)
        for index in chosen:
            pixels, depth = _read(listing.files[index], kinds[index], is_grey), kinds[index].depth
            brightest[depth] = max(brightest[depth], int(pixels.max()))
            yield pixels, depth

    def _unit(self, pixels: Tensor, depth: int) -> Tensor:
        """Resize an image (C, H, W), and map it to [-1, 1]."""
        resized = resample(pixels.float()[None], self.options.size or tuple(pixels.shape[1:]), self._how)[0]
        # The weights of a pixel sum to 1 only up to rounding.
        return resized.clamp_(0, 2**depth - 1).div_((2**depth - 1) / 2).sub_(1)

    def _notes_on(
        self, listing: Listing, kinds: Sequence[ImageKind], chosen: Sequence[int], brightest: dict[int, int]
    ) -> list[str]:
        return [
            *listing.notes,
            *_notes(listing.files, kinds),
            *self._shape_notes([kinds[index] for index in chosen]),
            *_dark_notes(brightest, len(chosen), len(listing.files)),
        ]

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


def _are_grey(kinds: Sequence[ImageKind]) -> bool:
    return all(kind.mode == "L" for kind in kinds)


def _check_sizes(files: Sequence[Encoded], kinds: Sequence[ImageKind]) -> None:
    width, height = kinds[0].size
    for file, kind in zip(files, kinds, strict=True):
        if kind.size != (width, height):
            raise mosaic.DataError(
                f"Images must be of one size, but '{files[0]}' is {width} x {height} and '{file}' is "
                f"{kind.size[0]} x {kind.size[1]} pixels; say `dataset.size=32`, for example, and they are resized."
            )


def _read(file: Encoded, kind: ImageKind, is_grey: bool) -> Tensor:
    """Decode an image: int32 (C, H, W)."""
    pixels = torch.from_numpy(decode(file, "L" if is_grey else "RGB", kind.depth).astype("int32"))
    if tuple(pixels.shape[:2]) != kind.size[::-1]:
        height, width = pixels.shape[:2]
        raise mosaic.DataError(
            f"Image '{file}' is {width} x {height} pixels once decoded, not {kind.size[0]} x {kind.size[1]} as it "
            "says at its beginning; save it again."
        )
    return pixels[None] if is_grey else pixels.permute(2, 0, 1)


def _notes(files: Sequence[Encoded], kinds: Sequence[ImageKind]) -> list[str]:
    """Say what of the images is not read, or not read exactly."""
    several = [(file, kind.frames) for file, kind in zip(files, kinds, strict=True) if kind.frames > 1]
    printed = sum(kind.stored == "CMYK" for kind in kinds)
    notes = []
    if several:
        file, frames = several[0]
        notes.append(
            f"Of images with several frames or pages only the first is read: {len(several)} of {len(files)} images "
            f"('{readable(Path(str(file)))}' has {frames})."
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
