"""Brute-force oracles of the other theories, in NumPy float64 and loops, from their formulas alone.

They share no code with what they test: the Gaussians invert whole covariance matrices, patches are cut out one by one.
One sample x (C, H, W), images (N, C, H, W), signal a and noise s of x = a x_0 + s eps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "block_means",
    "filtered",
    "gaussian",
    "golden_places",
    "masked_composite",
    "mixture",
    "patch_posterior",
    "patch_weights",
    "pca_locality",
    "pca_masks",
    "soft_els",
]

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


def pca_masks(images: Array, signal: float, noise: float, threshold: float) -> NDArray[np.bool_]:
    """Which input pixels (rows) each output pixel (columns) compares."""
    flat = images.reshape(len(images), -1)
    covariance = signal**2 * np.atleast_2d(np.cov(flat.T))
    wiener = np.linalg.solve(covariance + noise**2 * np.eye(len(covariance)), covariance).T
    ratios = np.array([abs(row / row[n]) if abs(row[n]) >= 1e-6 else abs(row) for n, row in enumerate(wiener)])
    return np.array(ratios >= threshold * ratios.max())


def pca_locality(
    x: Array, images: Array, signal: float, noise: float, threshold: float, subset: Array | None = None
) -> Array:
    """Each number of x0hat by a softmax over images, or a subset, compared at the pixels of its column of the mask."""
    masks, candidates = pca_masks(images, signal, noise, threshold), images if subset is None else subset
    flat, noisy = candidates.reshape(len(candidates), -1), x.ravel()
    result = np.empty_like(noisy)
    for pixel in range(len(noisy)):
        near = masks[:, pixel]
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


def masked_composite(x: Array, images: Array, masks: NDArray[np.bool_], signal: float, noise: float) -> Array:
    """Posterior means of patches of any shape, masks (F, H, W), added where they lie, over how many lie there."""
    total, count = np.zeros_like(x), np.zeros(x.shape[1:])
    for mask in masks:
        logits = -((x[:, mask] - signal * images[:, :, mask]) ** 2).sum((1, 2)) / (2 * noise**2)
        weights = np.exp(logits - logits.max())
        total[:, mask] += np.tensordot(weights / weights.sum(), images[:, :, mask], 1)
        count += mask
    return total / count


def patch_posterior(x: Array, images: Array, signal: float, noise: float, k: int, wraps: bool) -> Array:
    """Posterior means of whole patches, added where they lie, over how many lie there."""
    weights = patch_weights(x, images, signal, noise, k, wraps)
    return np.einsum("nhw,nchw->chw", weights, images)


def block_means(image: Array, side: int) -> Array:
    """Means over blocks, `side` along each axis: the block i of n holds the pixels i H / n up to (i + 1) H / n."""
    _, height, width = image.shape
    edges = [
        [(size * i // n, -(-size * (i + 1) // n)) for i in range(n)]
        for size, n in ((height, min(side, height)), (width, min(side, width)))
    ]
    return np.array([image[:, i:j, m:n].mean((1, 2)) for i, j in edges[0] for m, n in edges[1]])


def golden_places(
    x: Array, images: Array, pool: NDArray[np.int64], signal: float, noise: float, least: int, most: int, side: int
) -> list[int]:
    """Places of the images chosen from a pool for x, at most `most` and at least `least` of them."""
    kept = most - (most - least) * (1 - noise / np.hypot(signal, noise))

    def nearest(places: list[int], count: int, distance: Callable[[Array], float]) -> list[int]:
        return sorted(sorted(places, key=lambda place: (distance(images[place]), place))[:count])

    coarse = nearest(
        sorted(pool.tolist()), most, lambda c: ((block_means(x, side) - signal * block_means(c, side)) ** 2).sum()
    )
    return nearest(coarse, int(kept + 0.5), lambda c: ((x - signal * c) ** 2).sum())


def filtered(
    x: Array,
    candidates: Array,
    weights: Array,
    precisions: Array,
    responses: Array,
    signal: float,
    noise: float,
    temperature: float = 1.0,
) -> Array:
    """The filtered posterior mean, filter by filter and candidate by candidate; weights (M, F), 0 for none."""
    result, noisy = np.zeros(x.size), x.ravel()
    for precision, response, own in zip(precisions, responses, weights.T, strict=True):
        counted = [(c.ravel(), w) for c, w in zip(candidates, own, strict=True) if w > 0]
        energies = [(precision * (noisy - signal * c) ** 2).sum() / (2 * noise**2 * temperature) for c, _ in counted]
        terms = np.array([w for _, w in counted]) * np.exp(min(energies) - np.array(energies))
        result += response * (terms @ np.array([c for c, _ in counted])) / terms.sum()
    return result.reshape(x.shape)


def soft_els(
    x: Array, images: Array, signal: float, noise: float, k: int, width: float, boundary: str, aligned: bool = False
) -> Array:
    """ELS (LS if `aligned`) whose windows have a Gaussian profile, cut off at k // 2 pixels; pixel by pixel."""
    _, rows, cols = x.shape
    r, result = k // 2, np.empty_like(x)

    def over(row: int, column: int) -> tuple[int, ...]:
        return tuple(max(0, reach) for reach in (r - row, row + r - rows + 1, r - column, column + r - cols + 1))

    places = [(i, j) for i in range(rows) for j in range(cols)]
    for place in places:
        among = {
            "zeros": [q for q in places if over(*q) == over(*place)],
            "circular": places,
            "valid": [q for q in places if not any(over(*q))],
        }[boundary]
        among = [place] if aligned else among
        energies, centres = [], []
        for image in images:
            for q in among:
                energy = 0.0
                for i in range(-r, r + 1):
                    for j in range(-r, r + 1):
                        at, theirs = (place[0] + i, place[1] + j), (q[0] + i, q[1] + j)
                        if boundary == "zeros" and not (0 <= at[0] < rows and 0 <= at[1] < cols):
                            continue
                        apart = x[:, at[0] % rows, at[1] % cols] - signal * image[:, theirs[0] % rows, theirs[1] % cols]
                        energy += np.exp(-(i**2 + j**2) / (2 * width**2)) * (apart**2).sum()
                energies.append(energy / (2 * noise**2))
                centres.append(image[:, q[0], q[1]])
        weights = np.exp(min(energies) - np.array(energies))
        result[:, place[0], place[1]] = weights @ np.array(centres) / weights.sum()
    return result
