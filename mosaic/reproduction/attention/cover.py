"""How few training images are enough to make an image."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mosaic.engine.ties import window_keys

__all__ = ["cover_of"]


def cover_of(source: xr.Dataset, images: Tensor, k: int, boundary: str) -> np.ndarray:
    """Count the training images that are enough to make each sample: that together hold all windows it is made of.

    Where windows tie, as most do in plain images, the provenance names the first training image that holds one; here it
    does not matter which is named. Images are chosen greedily, each time the one that holds the most windows still
    missing (of equally good ones the first), so the count is at least the smallest there is.

    Parameters
    ----------
    source : xarray.Dataset
        `source_image`, `source_row` and `source_column` (sample, height, width), as a run holds them.
    images : Tensor (N, C, H, W)
        The training images.
    k, boundary
        Window size and boundary of ELS.

    Returns
    -------
    array (samples,), int64
        At least 1.
    """
    keys = window_keys(images, k, boundary == "circular")
    places = [torch.from_numpy(source[f"source_{name}"].values.astype(np.int64)) for name in ("image", "row", "column")]
    counts = []
    for image, row, column in zip(*places, strict=True):
        missing = keys[image, row, column].unique()
        held = torch.stack([torch.isin(missing, windows) for windows in keys])
        counts.append(0)
        while held.shape[1]:
            held = held[:, ~held[held.sum(1).argmax()]]
            counts[-1] += 1
    return np.array(counts)
