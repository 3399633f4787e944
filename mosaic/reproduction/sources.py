"""Which training pixels the pixels of generated images come from, and whether that is a matter of chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mosaic.compute import Compute
from mosaic.dataset import DataSet
from mosaic.schedule import Level
from mosaic.window_candidates import equivariant_windows

__all__ = ["Sources", "cover_of", "sources_of", "tied_pixels", "window_keys", "window_multiplicity"]

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
    for members, places in met_by(labels, dataset):
        images = dataset.images[places.to(dataset.images.device)]
        posterior = equivariant_windows(x[members].to(images), images, level, k, boundary, compute=DIAGNOSTICS)
        image, row, column = posterior.candidate()
        found.image[members] = places[image.cpu()]
        found.row[members], found.column[members] = row.cpu(), column.cpu()
        found.entropy[members] = posterior.entropy().double().cpu()
    return found


def met_by(labels: Tensor, dataset: DataSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield which samples (B,), bool, have one label, and the training images they meet: places (M,), int64, rising."""
    for label in labels.unique().tolist():
        if label == -1 or dataset.labels is None:
            yield labels == label, torch.arange(len(dataset))
        else:
            yield labels == label, torch.nonzero(dataset.labels.cpu() == label)[:, 0]


def tied_pixels(sources: Sources, labels: Tensor, dataset: DataSet, k: int, boundary: str) -> Tensor:
    """Whether the source window of each pixel has equals among the windows its sample meets, (B, H, W), bool."""
    tied = torch.zeros_like(sources.image, dtype=torch.bool)
    for members, places in met_by(labels, dataset):
        counts = window_multiplicity(dataset.images.cpu()[places], k, boundary)
        image = torch.searchsorted(places, sources.image[members])
        tied[members] = torch.from_numpy(counts[image, sources.row[members], sources.column[members]] > 1)
    return tied


def window_multiplicity(images: Tensor, k: int, boundary: str) -> np.ndarray:
    """Count, for the k x k window about every pixel, the windows of all images that equal it exactly, (N, H, W), int64.

    1 where a window is the only one of its kind. Arguments as for `window_keys`.
    """
    keys = window_keys(images, k, boundary)
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    found: np.ndarray = counts[inverse].reshape(keys.shape)
    return found


def cover_of(sources: Sources, images: Tensor, k: int, boundary: str) -> np.ndarray:
    """Count the training images that are enough to make each sample: that together hold all windows it is made of.

    Where windows tie, as most do in plain images, `sources` names the first training image that holds one; here it does
    not matter which is named. Images are chosen greedily, each time the one that holds the most windows still missing
    (of equally good ones the first), so the count is at least the smallest there is.

    Parameters
    ----------
    sources : Sources
        Nearest candidates of the samples' pixels.
    images, k, boundary
        As for `window_keys`.

    Returns
    -------
    array (B,), int64
        At least 1.
    """
    keys = window_keys(images, k, boundary)
    counts = []
    for image, row, column in zip(sources.image, sources.row, sources.column, strict=True):
        missing = np.unique(keys[image, row, column])
        held = np.stack([np.isin(missing, one) for one in keys])
        counts.append(0)
        while held.shape[1]:
            held = held[:, ~held[held.sum(1).argmax()]]
            counts[-1] += 1
    return np.array(counts)


def window_keys(images: Tensor, k: int, boundary: str) -> np.ndarray:
    """Name the k x k window about every pixel, so that equal windows have equal names.

    Parameters
    ----------
    images : Tensor (N, C, H, W)
        Training images.
    boundary : {"zeros", "circular"}
        As for ELS: with zeros only windows that hang over the border alike are compared.

    Returns
    -------
    array (N, H, W), uint64
        A hash of 64 bits of each window.
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
    return keys
