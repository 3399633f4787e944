"""Brute-force oracles of the other theories, in NumPy float64 and loops, from their formulas alone.

They share no code with what they test: the Gaussians invert whole covariance matrices, patches are cut out one by one.
One sample x (C, H, W), images (N, C, H, W), signal a and noise s of x = a x_0 + s eps.
"""

from __future__ import annotations

import numpy as np
import oracle
from numpy.typing import NDArray

__all__ = ["gaussian", "golden_subset", "mixture", "patch_posterior", "patch_weights", "pca_locality"]

Array = NDArray[np.float64]


def _moments(images: Array) -> tuple[Array, Array]:
    flat = images.reshape(len(images), -1)
    mean = flat.mean(0)
    return mean, (flat - mean).T @ (flat - mean) / len(flat)


def gaussian(x: Array, images: Array, signal: float, noise: float) -> Array:
    """The Wiener filter: mu + C (C + s^2 / a^2)^-1 (x / a - mu)."""
    mean, covariance = _moments(images)
    noisy = covariance + (noise / signal) ** 2 * np.eye(len(mean))
    return (mean + covariance @ np.linalg.solve(noisy, x.ravel() / signal - mean)).reshape(x.shape)


def mixture(x: Array, images: Array, members: Array, signal: float, noise: float) -> Array:
    """One Gaussian for each number among the members, weighed by the density of x under each."""
    logs, means = [], []
    for number in np.unique(members):
        own = images[members == number]
        mean, covariance = _moments(own)
        spread = signal**2 * covariance + noise**2 * np.eye(len(mean))
        apart = x.ravel() - signal * mean
        density = -0.5 * (apart @ np.linalg.solve(spread, apart) + np.linalg.slogdet(spread)[1])
        logs.append(np.log(len(own) / len(images)) + density)
        means.append(gaussian(x, own, signal, noise))
    weights = np.exp(np.array(logs) - max(logs))
    return np.tensordot(weights / weights.sum(), np.array(means), 1)


def pca_locality(x: Array, images: Array, signal: float, noise: float, threshold: float) -> Array:
    """Each number of x0hat by a softmax over images, compared where its row of the Wiener filter is large."""
    _, covariance = _moments(images)
    wiener = np.abs(np.linalg.solve(covariance + (noise / signal) ** 2 * np.eye(len(covariance)), covariance).T)
    flat, noisy = images.reshape(len(images), -1), x.ravel()
    result = np.empty_like(noisy)
    for pixel in range(len(noisy)):
        near = wiener[pixel] >= threshold * wiener[pixel].max()
        logits = -((noisy[near] - signal * flat[:, near]) ** 2).sum(1) / (2 * noise**2)
        weights = np.exp(logits - logits.max())
        result[pixel] = weights @ flat[:, pixel] / weights.sum()
    return result.reshape(x.shape)


def patch_weights(x: Array, images: Array, signal: float, noise: float, k: int, wraps: bool) -> Array:
    """Weight of each image at each pixel (N, H, W): its mean weight in the k x k patches that hold the pixel."""
    _, height, width = x.shape
    total, count = np.zeros((len(images), height, width)), np.zeros((height, width))
    tall, wide = min(k, height), min(k, width)
    sides = (height, width) if wraps else (height - tall + 1, width - wide + 1)
    for top in range(sides[0]):
        for left in range(sides[1]):
            places = np.ix_(np.arange(top, top + tall) % height, np.arange(left, left + wide) % width)
            logits = [-((x[:, *places] - signal * image[:, *places]) ** 2).sum() / (2 * noise**2) for image in images]
            weights = np.exp(np.array(logits) - max(logits))
            total[:, *places] += (weights / weights.sum())[:, None, None]
            count[places] += 1
    return total / count


def patch_posterior(x: Array, images: Array, signal: float, noise: float, k: int, wraps: bool) -> Array:
    """Posterior means of whole patches, added where they lie, over how many lie there."""
    weights = patch_weights(x, images, signal, noise, k, wraps)
    return np.einsum("nhw,nchw->chw", weights, images)


def golden_subset(
    x: Array, images: Array, signal: float, noise: float, shares: tuple[float, float], block: int
) -> Array:
    """IS over the images that are nearest in means of blocks; shares at no noise and at noise only."""

    def coarse(image: Array) -> Array:
        blocks = range(0, image.shape[1], block), range(0, image.shape[2], block)
        means = [image[:, i : i + block, j : j + block].mean((1, 2)) for i in blocks[0] for j in blocks[1]]
        return np.concatenate(means)

    low, high = shares
    kept = max(1, round((low + (high - low) * noise**2 / (signal**2 + noise**2)) * len(images)))
    distances = [((coarse(x / signal) - coarse(image)) ** 2).sum() for image in images]
    return oracle.is_(x, images[np.sort(np.argsort(distances)[:kept])], signal, noise)
