"""Held-out images: more images of the source of a training set, none of which is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mosaic.errors import DataError, UsageError
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.image_source import ImageSource
from mosaic.interfaces.images import Images, image_blocks
from mosaic.registry.data import load_dataset
from mosaic.registry.loading import registry

__all__ = ["load_held_out", "unseen"]

BLOCK = 4096  # images looked at together

REPEATED = 0.01  # share of held-out images that published data repeat; more is taken for the wrong images


def load_held_out(given: DataSet | Mapping[str, Any], training: DataSet, access: DataAccess) -> DataSet:
    """Load the held-out images, and hold them to be like the training images.

    Parameters
    ----------
    given : DataSet or mapping
        The images; or options of the training set that give others, such as {"split": "test"}. Those that are not given
        are the training set's.

    Raises
    ------
    UsageError, DataError
        If they cannot be loaded, or differ in shape or range.
    """
    if isinstance(given, DataSet):
        held_out = given
    elif training.name not in registry().names("dataset"):
        raise UsageError(
            f"`held_out` are options, but '{training.name}' is not the name of a data set; give a DataSet."
        )
    elif not given:
        raise UsageError(
            f"`held_out` is empty; give options of '{training.name}' that say which images, as in skip=1000."
        )
    else:
        held_out = load_dataset(training.name, {**training.options, **given}, access)
    for what in ("shape", "range"):
        own, others = getattr(held_out, what), getattr(training, what)
        if own != others:
            raise DataError(
                f"The held-out images have the {what} {own}, the training images {others}; they must agree."
            )
    images = _like(held_out.images, training.images)
    return held_out if images is held_out.images else replace(held_out.to(images.device), images=images)


def unseen(held_out: DataSet, training: DataSet) -> tuple[Tensor, list[str]]:
    """Give the places of the held-out images that equal no training image, and notes of those that do.

    Raises
    ------
    UsageError
        If more than 1 % equal a training image, blank ones aside.
    """
    known = set(_digests(training.images))
    is_seen = torch.tensor([each in known for each in _digests(held_out.images)], dtype=torch.bool, device="cpu")
    blocks = (block.flatten(1) for block in image_blocks(held_out.images, BLOCK))
    is_blank = torch.cat([(block.amin(1) == block.amax(1)).cpu() for block in blocks])
    seen, blank, count = int(is_seen.sum()), int((is_seen & is_blank).sum()), len(held_out)
    if seen == count or seen - blank > REPEATED * count:
        raise UsageError(
            f"{seen} of the {count} images of `held_out` are equal to training images; give other options of "
            f"'{training.name}', such as skip=N beside a limit=N."
        )
    places = (~is_seen).nonzero()[:, 0]
    if not seen:
        return places, []
    blanks = f" ({blank} of them blank)" if blank else ""
    return places, [f"{seen} of {count} held-out images{blanks} are equal to training images, and are left out."]


def _like(images: Images, others: Images) -> Images:
    """Give images on the device and of the type of others; a source of another type is read whole."""
    if isinstance(images, ImageSource) and images.dtype == others.dtype:
        return images.to(others.device)
    return (images if isinstance(images, Tensor) else images[:]).to(others.device, others.dtype)


def _digests(images: Images) -> Iterator[bytes]:
    """Digest each image (N, C, H, W); -0 and 0 are equal."""
    for block in image_blocks(images, BLOCK):
        for array in (block + 0.0).cpu().contiguous().numpy():
            yield hashlib.blake2b(array.data, digest_size=16).digest()
