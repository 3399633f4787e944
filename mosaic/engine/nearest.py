"""The training images nearest to given images."""

from __future__ import annotations

import torch
from torch import Tensor

from mosaic.device import standard_torch
from mosaic.errors import UsageError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.images import Images
from mosaic.progress import Progress, silent

__all__ = ["nearest_images"]

CHUNK = 2**23  # pixels of training images compared at a time


@checked()
@standard_torch()
@torch.no_grad()
def nearest_images(
    images: Tensor, training: Images, count: int = 1, *, progress: Progress = silent
) -> tuple[Tensor, Tensor]:
    """Find the training images nearest to each image, by Euclidean (L2) distance over all pixels and channels.

    Parameters
    ----------
    images : Tensor (B, C, H, W)
        Images.
    training : Tensor or ImageSource (N, C, H, W)
        Training images, N >= count.
    count : int
        How many to find.
    progress : Progress
        Called with the training images compared.

    Returns
    -------
    distances : Tensor (B, count), float64
        In rising order.
    indices : Tensor (B, count), int64
        Their positions in the training set; of equally near images the earlier one comes first.

    Raises
    ------
    UsageError
        If the images are not of one shape, or there are not `count` training images.
    """
    if images.ndim != 4 or images.shape[1:] != training.shape[1:] or images[:1].numel() == 0:
        raise UsageError(
            f"`images` and `training` must be images (N, C, H, W) of one shape, not {tuple(images.shape)} and "
            f"{tuple(training.shape)}."
        )
    if not 1 <= count <= len(training):
        raise UsageError(f"`count` is {count}; it must be from 1 to the number of training images, {len(training)}.")
    flat = images.flatten(1).double()
    distances = flat.new_empty(len(flat), 0)
    indices = torch.empty(len(flat), 0, dtype=torch.int64, device=flat.device)
    length = max(count, CHUNK // flat.shape[1])
    for first in range(0, len(training), length):
        progress(first, len(training), "image")
        block = training[first : first + length].flatten(1).to(flat)
        # By differences: products cancel, and the distance to a copy must be exactly 0.
        apart = torch.cdist(flat, block, compute_mode="donot_use_mm_for_euclid_dist")
        places = torch.arange(first, first + len(block), device=flat.device, dtype=torch.int64).expand(len(flat), -1)
        distances, indices = torch.cat([distances, apart], 1), torch.cat([indices, places], 1)
        # A stable sort with the earlier images in front keeps the first of equally near ones.
        order = distances.sort(dim=1, stable=True).indices[:, :count]
        distances, indices = distances.gather(1, order), indices.gather(1, order)
    return distances, indices
