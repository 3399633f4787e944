"""Which training pixels the pixels of generated images come from, and whether that is a matter of chance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mosaic.compute import Compute
from mosaic.dataset import DataSet
from mosaic.schedule import Level
from mosaic.window_candidates import equivariant_windows

__all__ = ["Sources", "sources_of", "window_multiplicity"]

DIAGNOSTICS = Compute(diagnostics=True)


class Sources:
    """Sources of the pixels of noisy images under ELS.

    Attributes
    ----------
    image, row, column : Tensor (B, H, W), int64
        The most probable candidate of each pixel: training image, and the place of its centre.
    entropy : Tensor (B, H, W), float64
        Entropy of the posterior, in nats.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.image, self.row, self.column = (torch.zeros(shape, dtype=torch.int64) for _ in range(3))
        self.entropy = torch.zeros(shape, dtype=torch.float64)


def sources_of(x: Tensor, labels: Tensor, dataset: DataSet, level: Level, k: int, boundary: str) -> Sources:
    """Find the sources of noisy images x (B, C, H, W); a sample with a label meets images of its class only."""
    found = Sources((len(x), *x.shape[2:]))
    for label in labels.unique().tolist():
        members = labels == label
        if label == -1 or dataset.labels is None:
            places = torch.arange(len(dataset))
        else:
            places = torch.nonzero(dataset.labels.cpu() == label)[:, 0]
        images = dataset.images[places.to(dataset.images.device)]
        posterior = equivariant_windows(x[members].to(images), images, level, k, boundary, compute=DIAGNOSTICS)
        image, row, column = posterior.candidate()
        found.image[members] = places[image.cpu()]
        found.row[members], found.column[members] = row.cpu(), column.cpu()
        found.entropy[members] = posterior.entropy().double().cpu()
    return found


def window_multiplicity(images: Tensor, k: int, boundary: str) -> np.ndarray:
    """Count, for the k x k window about every pixel, the windows of all images that equal it exactly.

    Parameters
    ----------
    images : Tensor (N, C, H, W)
        Training images.
    boundary : {"zeros", "circular"}
        As for ELS: with zeros only windows that hang over the border alike are compared.

    Returns
    -------
    array (N, H, W), int64
        1 where a window is the only one of its kind. Windows are told apart by a hash of 64 bits.
    """
    count, channels, height, width = images.shape
    r = k // 2
    values = images.cpu().numpy() + 0.0  # no negative zeros
    places = np.unique(values, return_inverse=True)[1]
    codes: np.ndarray = places.reshape(values.shape).astype(np.uint64) + np.uint64(1)
    pad = ((0, 0), (0, 0), (r, r), (r, r))
    codes = np.pad(codes, pad, "wrap") if boundary == "circular" else np.pad(codes, pad)
    keys = np.zeros((count, height, width), dtype=np.uint64)
    # Odd multipliers: by chance, but always the same.
    multipliers = np.random.default_rng(0).integers(0, 2**63, (channels, k, k), dtype=np.uint64) * 2 + np.uint64(1)
    for channel, i, j in np.ndindex(channels, k, k):
        keys += codes[:, channel, i : i + height, j : j + width] * multipliers[channel, i, j]
    # The codes of pixels are never 0, so a window that hangs over otherwise has other codes: 0 beyond the border.
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    found: np.ndarray = counts[inverse].reshape(keys.shape)
    return found
