"""Training sets: images as one array, with labels and the facts a run records about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mosaic.errors import DataError, UsageError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.arrays import as_facts, as_images, as_labels, check_text
from mosaic.interfaces.html import pictures, table
from mosaic.interfaces.image_source import ImageSource, largest_block
from mosaic.interfaces.images import Images, extremes_of, image_blocks, select_images
from mosaic.interfaces.rule import Rule
from mosaic.progress import printable

__all__ = ["DataSet", "balanced_subset"]

# Fields but arrays and texts.
FACTS = ("classes", "range", "scales", "training", "rule", "metadata", "notes", "names", "options")
FEW = 12  # classes and images that a notebook shows
MOST_CLASSES = 65_536  # that are named by their numbers, where no names are given


@dataclass(frozen=True, repr=False)
class DataSet:
    """A training set.

    Attributes
    ----------
    name : str
        The name it was asked for by.
    images : Tensor or ImageSource (N, C, H, W), float32 or float64
        Pixel values; range [-1, 1] unless `range` says otherwise. A numpy array or a list of images becomes a tensor,
        and half precision becomes float32. Gradients are not tracked. A source is read in pieces, so that any number
        of images needs no more memory than a few, and gives the same numbers. A memory-mapped array, as
        `np.load(path, mmap_mode="r")` gives it, becomes a source: floats as they are, uint8 from [0, 255] to [-1, 1].
    labels : Tensor (N,), int64, or None
        Class of each image, 0 <= label < number of classes. An array or a list of integers becomes a tensor.
    classes : tuple of str
        Names of the classes; by default their numbers. Empty where there are no labels.
    range : (float, float)
        Lowest and highest value a pixel may have.
    scales : str or None
        Preset of locality scales that suits this set (see `mosaic.sampling.scales`).
    training : mapping
        Settings of a training (`mosaic.TrainConfig`) that suit this set, in place of the general defaults; under
        `networks` the options of each network, by name.
    rule : Rule, optional
        A rule that every image of the set obeys and that can be judged in generated images.
    origin : str
        Where the images came from, for the record.
    notes : tuple of str
        What the user should know of how the images were read, such as what was left out. No part of the fingerprint.
    names : tuple of str
        What each image is called, such as its file; empty where they have no names. No part of the fingerprint.
    options : mapping
        Options by which it was loaded by its name, for runs to record; empty for one that was not. No part of the
        fingerprint.

    Raises
    ------
    DataError
        If the arrays do not fit each other, or hold NaN or infinity, or leave the range, a name is not UTF-8, or
        anything is of another kind.
    """

    name: str
    images: Images
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    range: tuple[float, float] = (-1.0, 1.0)
    scales: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    rule: Rule | None = None
    origin: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), compare=False)
    names: tuple[str, ...] = field(default=(), compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    _digest: tuple[str, Any] | None = field(default=None, init=False, repr=False, compare=False)
    _is_as_loaded: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise DataError(f"A data set's name must be a string, not a {type(self.name).__name__}.")
        for name, value in as_facts(self.name, {name: getattr(self, name) for name in FACTS}).items():
            object.__setattr__(self, name, value)
        images = as_images(self.name, self.images)
        object.__setattr__(self, "images", images)
        channels, height, width = self.shape
        if width in (1, 3, 4) and channels > 4:
            note = (
                f"Images of '{self.name}' have {channels} channels of {height} x {width} pixels, as (N, C, H, W) says; "
                f"if their shape is (N, H, W, C), give images.permute(0, 3, 1, 2)."
            )
            object.__setattr__(self, "notes", tuple(dict.fromkeys((*self.notes, note))))
        low, high = extremes_of(images)
        if not (low > -float("inf") and high < float("inf")):  # with NaN both comparisons are false
            bad = _first_not_finite(images)
            raise DataError(f"Data set '{self.name}': image {bad} holds NaN or infinity; remove or repair it.")
        if low < self.range[0] - 1e-4 or high > self.range[1] + 1e-4:
            raise DataError(
                f"Data set '{self.name}': pixel values span [{low:g}, {high:g}], outside the declared range "
                f"[{self.range[0]:g}, {self.range[1]:g}]; rescale them or declare their range."
            )
        if self.labels is not None:
            self._check_labels(self.labels)
        if self.names and len(self.names) != len(images):
            raise DataError(
                f"Data set '{self.name}': {len(self.names)} names for {len(images)} images; give one for each, or none."
            )
        classes = [("class name", name) for name in self.classes]
        names = [("image name", name) for name in self.names]
        for what, text in (("the name", self.name), ("the origin", self.origin), *classes, *names):
            check_text(self.name, what, text)

    def _check_labels(self, given: Tensor) -> None:
        labels = as_labels(self.name, given, len(self.images))
        object.__setattr__(self, "labels", labels)
        low, high = int(labels.min()), int(labels.max())
        if not self.classes and high >= MOST_CLASSES:
            raise DataError(f"Data set '{self.name}': labels go up to {high}; number the classes from 0 on.")
        if not self.classes:
            object.__setattr__(self, "classes", tuple(str(label) for label in range(high + 1)))
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"Data set '{self.name}': labels span [{low}, {high}] but there are "
                f"{len(self.classes)} classes; labels count from 0."
            )

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"DataSet('{printable(self.name)}', {len(self)} images of {' x '.join(map(str, self.shape))}{classes})"

    def _repr_html_(self) -> str:
        counts = [] if self.labels is None else self.labels.bincount(minlength=len(self.classes)).tolist()
        low, high = self.range
        classes = [f"{name} ({count})" for name, count in zip(self.classes, counts, strict=False)]
        rows = {
            "images": f"{len(self)} of {' x '.join(map(str, self.shape))}, {self.images.dtype} on {self.images.device}",
            "range": "[{:g}, {:g}]; values from {:g} to {:g}".format(low, high, *extremes_of(self.images)),
            "classes": _first(classes, FEW),
            "names": _first(self.names, 4),
            "scales": self.scales,
            "training defaults": ", ".join(f"{name} {value}" for name, value in self.training.items()) or None,
            "rule": self.rule,
            "origin": self.origin or None,
            **self.metadata,
            "notes": "\n".join(self.notes) or None,
        }
        return table(f"DataSet '{self.name}'", rows) + pictures(self.images[:FEW], low, high, "its first images")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: (channels, height, width)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def fingerprint(self) -> str:
        """SHA-256 of shape, pixels and labels, computed again after a change; equal exactly for the same data."""
        if isinstance(self.images, ImageSource):
            return self._source_sha256(self.images)
        held = [each for each in (self.images, self.labels) if each is not None]
        if any(each.is_inference() for each in held):  # these do not count their changes
            return self._sha256()
        digest, changes = self._digest, [each._version for each in held]
        if digest is None or digest[1] != changes:
            digest = self._sha256(), changes
            object.__setattr__(self, "_digest", digest)
        return digest[0]

    def _source_sha256(self, images: ImageSource) -> str:
        """That of images that do not change, with the labels as they are."""
        labels = b"" if self.labels is None else self.labels.cpu().contiguous().numpy().tobytes()
        return str(images.derived(f"fingerprint-{hashlib.sha256(labels).hexdigest()}", self._sha256))

    def _sha256(self) -> str:
        digest = hashlib.sha256(f"{self.images.dtype} {tuple(self.images.shape)}".encode())
        for block in image_blocks(self.images, largest_block(self.images, 2**22)):
            digest.update(block.cpu().contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def select(self, indices: Tensor) -> DataSet:
        """Keep the images at `indices` (int64), in that order; those of a source are not read."""
        labels = None if self.labels is None else self.labels[indices]
        names: tuple[str, ...] = ()
        if self.names:
            places = torch.arange(len(self), dtype=torch.int64, device="cpu")[indices.cpu()]
            names = tuple(self.names[place] for place in places.tolist())
        return replace(self, images=select_images(self.images, indices), labels=labels, names=names)

    def name_of(self, index: int) -> str:
        """What to call an image in a picture or on a page: its name, in printable characters, else `#` and its place.

        Raises
        ------
        UsageError
            If there is no such image.
        """
        if not 0 <= index < len(self):
            raise UsageError(f"`index` is {index}; data set '{self.name}' has the images 0 to {len(self) - 1}.")
        return printable(self.names[index]) if self.names else f"#{index}"

    def class_groups(self, labels: Tensor | None) -> Iterator[tuple[Tensor | slice, Tensor | None]]:
        """Yield the samples with each label (B,), -1 for none, and the images they are compared with: a class, or all.

        Yields
        ------
        samples : Tensor (B,), bool, or slice
            The samples that are compared with the same images.
        places : Tensor (n,), int64, or None
            The places of these images; None for all of them.

        Raises
        ------
        UsageError
            If there are no images of a label.
        """
        if labels is None or bool((labels == -1).all()):
            yield slice(None), None
            return
        for label in labels.unique().tolist():
            yield labels == label, None if label == -1 else self._places_of(label)

    def check_batch(self, x: Tensor, labels: Tensor | None = None) -> None:
        """Refuse x that is no batch of finite images like these in a type to compute in, and labels of another size.

        Raises
        ------
        UsageError
            With what it is, and what it must be.
        """
        if not isinstance(x, Tensor):
            raise UsageError(
                f"x is a {type(x).__name__}; it must be a torch.Tensor (`torch.from_numpy` makes one of an array)."
            )
        if x.ndim != 4 or tuple(x.shape[1:]) != self.shape or len(x) == 0:
            hint = "; for one image give x[None]" if tuple(x.shape) == self.shape else ""
            raise UsageError(
                f"x has shape {tuple(x.shape)}; it must be a batch (B, C, H, W) of images like those of '{self.name}', "
                f"(B, {', '.join(map(str, self.shape))}){hint}."
            )
        if x.dtype not in (torch.float32, torch.float64):
            raise UsageError(f"x has {x.dtype}; score models compute in torch.float32 or torch.float64: use .float().")
        if x.device != self.images.device:
            raise UsageError(
                f"x is on {x.device}, the images of '{self.name}' on {self.images.device}; move one of them."
            )
        finite = torch.isfinite(x.detach()).flatten(1).all(1)
        if not bool(finite.all()):
            number = int((~finite).nonzero()[0])
            raise UsageError(f"x has NaN or infinity in image {number} of {len(x)}; all its values must be finite.")
        if labels is not None and labels.shape != (len(x),):
            raise UsageError(f"{len(x)} samples need as many labels, not labels of shape {tuple(labels.shape)}.")

    def _places_of(self, label: int) -> Tensor:
        if self.labels is None:
            raise UsageError(f"Data set '{self.name}' has no labels, so label {label} cannot be used.")
        places = torch.nonzero(self.labels == label)[:, 0]
        if len(places) == 0:
            present = ", ".join(str(int(c)) for c in self.labels.unique())
            raise UsageError(f"Data set '{self.name}' has no images of label {label}; it has: {present}.")
        return places

    def to(self, device: torch.device | str) -> DataSet:
        """Move images and labels to `device`."""
        labels = None if self.labels is None else self.labels.to(device)
        moved = replace(self, images=self.images.to(device), labels=labels)
        object.__setattr__(moved, "_is_as_loaded", self._is_as_loaded)
        return moved

    def as_loaded(self, options: Mapping[str, Any]) -> DataSet:
        """Note that this is what its name loads with these options."""
        loaded = replace(self, options=options)
        object.__setattr__(loaded, "_is_as_loaded", True)
        return loaded

    @property
    def is_as_loaded(self) -> bool:
        """Whether another process has the same by loading it by its name; not after a choice or change of images."""
        return self._is_as_loaded


def _first_not_finite(images: Images) -> int:
    first = 0
    for block in image_blocks(images, largest_block(images, 2**22)):
        bad = (~torch.isfinite(block)).flatten(1).any(1).nonzero()
        if len(bad):
            return first + int(bad[0])
        first += len(block)
    raise ValueError("all images are finite")


def _first(texts: Sequence[str], most: int) -> str | None:
    """List the first of some texts, and how many there are beside; None if there are none."""
    return ", ".join([*texts[:most], *([f"... ({len(texts)})"] if len(texts) > most else [])]) or None


@checked()
def balanced_subset(count: int, limit: int, seed: int, labels: Tensor | None = None, skip: int = 0) -> Tensor:
    """Choose `limit` of `count` images at random, as evenly over the classes as they allow.

    Subsets of one seed are nested: a larger limit adds images. What `skip` leaves out is the subset of that many.

    Parameters
    ----------
    count, limit : int
        Number of images available, and number wanted; all are kept when `limit >= count`.
    seed : int
        Seed of the choice.
    labels : Tensor (count,), int64, optional
        Classes; without them the choice is uniform.
    skip : int
        How many images to leave out: those that this limit would choose. So limits 10 and 5 with skip 10 have no image
        in common.

    Returns
    -------
    Tensor (min(limit, count - skip),), int64
        Indices in rising order. Class sizes differ by at most one, after a skip two, unless a class has too few images.

    Raises
    ------
    UsageError
        If a number is negative, or the labels are not one for each image.
    """
    for name, value in {"count": count, "limit": limit, "seed": seed, "skip": skip}.items():
        if not 0 <= value < 2**63:
            raise UsageError(f"`{name}` is {value}; it must be from 0 to 2^63 - 1.")
    if labels is not None and labels.shape != (count,):
        raise UsageError(f"`labels` have shape {tuple(labels.shape)}; {count} images need ({count},).")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=generator, dtype=torch.int64, device="cpu")
    if labels is None or (skip == 0 and limit >= count):
        return order[skip:][:limit].sort().values
    # Images are taken by their random rank within their class: all first ones, then all second ones, and so on.
    shuffled = labels.cpu()[order]
    rank = torch.empty(count, dtype=torch.int64, device="cpu")
    for label in shuffled.unique():
        members = (shuffled == label).nonzero()[:, 0]
        rank[members] = torch.arange(len(members), dtype=torch.int64, device="cpu")
    chosen = torch.argsort(rank, stable=True)[skip:][:limit]
    return order[chosen].sort().values
