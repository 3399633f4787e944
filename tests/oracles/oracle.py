"""Brute-force oracle of the analytic machines, in NumPy float64 and loops, from the definitions alone.

For every output pixel p and every one of its candidates: cut out both windows, subtract, square, sum.

    logit(c) = -|| x[window(p)] - a c[window] ||^2 / (2 s^2),    x0hat(p) = sum_c softmax(logit)_c centre(c)

Slow, and meant to be. It shares no code with what it tests. One sample x (C, H, W), images (N, C, H, W).

References: Kamb & Ganguli 2025, eqs. 3-10, sec. 3.4, app. B.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CASES",
    "Pixel",
    "candidates",
    "denoise",
    "els",
    "es",
    "is_",
    "ls",
    "mean",
    "nearest",
    "pixels",
    "rounding",
]

Array = NDArray[np.float64]

# Every machine and boundary there is; the whole-image machines have no boundary.
CASES = [
    ("is", None),
    ("es", None),
    ("ls", "zeros"),
    ("ls", "circular"),
    ("els", "zeros"),
    ("els", "circular"),
    ("els", "valid"),
]


@dataclass
class Pixel:
    """An output pixel and its M candidates, each compared over n numbers."""

    row: int
    column: int
    places: list[tuple[int, int, int]]
    """Image, row and column of each candidate's centre."""
    patches: Array
    """Each candidate's own window, (M, n)."""
    differences: Array
    """x[window(p)] - a c[window], (M, n)."""
    centres: Array
    """(M, C)."""

    def logits(self, noise: float) -> Array:
        """-|difference|^2 / (2 s^2), (M,)."""
        return -(self.differences**2).sum(axis=1) / (2 * noise**2)

    def weights(self, noise: float) -> Array:
        """Softmax of the logits, (M,)."""
        logits = self.logits(noise)
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()


def overhang(index: int, size: int, radius: int) -> tuple[int, int]:
    """How far a window about `index` hangs over the low and the high border of an axis."""
    return max(0, radius - index), max(0, index + radius - (size - 1))


def candidates(
    machine: str, boundary: str | None, shape: tuple[int, int, int, int], k: int, pixel: tuple[int, int]
) -> list[tuple[int, int, int]]:
    """Centres (image, row, column) of the candidates of one pixel; `shape` is that of the images."""
    count, _, height, width = shape
    row, column = pixel
    radius = k // 2
    places = []
    for i in range(height):
        for j in range(width):
            if machine in ("is", "ls"):
                allowed = (i, j) == (row, column)
            elif machine == "es" or boundary == "circular":
                allowed = True
            elif boundary == "zeros":
                allowed = overhang(i, height, radius) == overhang(row, height, radius) and overhang(
                    j, width, radius
                ) == overhang(column, width, radius)
            elif boundary == "valid":
                allowed = overhang(i, height, radius) == (0, 0) == overhang(j, width, radius)
            else:
                raise ValueError(f"no machine {machine} {boundary}")
            if allowed:
                places.append((i, j))
    return [(n, i, j) for n in range(count) for i, j in places]


def window(image: Array, row: int, column: int, k: int, wraps: bool) -> Array:
    """The k x k window about a pixel, (C, k, k); outside the image it wraps, or is zero."""
    channels, height, width = image.shape
    result = np.zeros((channels, k, k))
    for u in range(k):
        for v in range(k):
            i, j = row - k // 2 + u, column - k // 2 + v
            if wraps:
                result[:, u, v] = image[:, i % height, j % width]
            elif 0 <= i < height and 0 <= j < width:
                result[:, u, v] = image[:, i, j]
    return result


def pixels(machine: str, boundary: str | None, x: Array, images: Array, signal: float, k: int) -> Iterator[Pixel]:
    """Every output pixel with its candidates, row by row."""
    wraps = boundary in ("circular", "valid")
    cut: dict[tuple[int, int, int], Array] = {}
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            places = candidates(machine, boundary, images.shape, k, (row, column))
            patches = []
            for n, i, j in places:
                if machine == "is":
                    patch = images[n]
                elif machine == "es":  # the translate that brings (i, j) to this pixel
                    shift = ((row - i) % x.shape[1], (column - j) % x.shape[2])
                    if (n, *shift) not in cut:
                        cut[n, *shift] = np.roll(images[n], shift, axis=(1, 2))
                    patch = cut[n, *shift]
                else:
                    if (n, i, j) not in cut:
                        cut[n, i, j] = window(images[n], i, j, k, wraps)
                    patch = cut[n, i, j]
                patches.append(patch.ravel())
            target = x if machine in ("is", "es") else window(x, row, column, k, wraps)
            own = np.array(patches)
            centres = np.array([images[n, :, i, j] for n, i, j in places])
            yield Pixel(row, column, places, own, target.ravel() - signal * own, centres)


def denoise(machine: str, boundary: str | None, x: Array, images: Array, signal: float, noise: float, k: int) -> Array:
    """x0hat (C, H, W) of one sample."""
    result = np.empty_like(x)
    for pixel in pixels(machine, boundary, x, images, signal, k):
        result[:, pixel.row, pixel.column] = pixel.weights(noise) @ pixel.centres
    return result


def is_(x: Array, images: Array, signal: float, noise: float, k: int = 0) -> Array:
    """Ideal score machine (eqs. 3-4); `k` is ignored."""
    return denoise("is", None, x, images, signal, noise, k)


def es(x: Array, images: Array, signal: float, noise: float, k: int = 0) -> Array:
    """Equivariant machine (eqs. 5-6); `k` is ignored."""
    return denoise("es", None, x, images, signal, noise, k)


def ls(x: Array, images: Array, signal: float, noise: float, k: int, boundary: str = "zeros") -> Array:
    """Local machine (eqs. 7-8); boundary zeros or circular."""
    return denoise("ls", boundary, x, images, signal, noise, k)


def els(x: Array, images: Array, signal: float, noise: float, k: int, boundary: str = "zeros") -> Array:
    """Equivariant local machine (eqs. 9-10); boundary zeros, circular or valid."""
    return denoise("els", boundary, x, images, signal, noise, k)


def mean(machine: str, boundary: str | None, images: Array, k: int) -> Array:
    """Mean of the candidates' centres at every pixel, (C, H, W): the limit of infinite noise."""
    result = np.empty(images.shape[1:])
    for row in range(images.shape[2]):
        for column in range(images.shape[3]):
            places = candidates(machine, boundary, images.shape, k, (row, column))
            result[:, row, column] = np.mean([images[n, :, i, j] for n, i, j in places], axis=0)
    return result


def nearest(machine: str, boundary: str | None, x: Array, images: Array, signal: float, k: int) -> tuple[Array, Array]:
    """Centre of the L2-nearest candidate at every pixel, (C, H, W): the limit of no noise.

    The second array (H, W) is by how much in squared distance the nearest candidate leads the first one
    whose centre differs (infinite where none does).
    """
    result, lead = np.empty_like(x), np.full(x.shape[1:], np.inf)
    for pixel in pixels(machine, boundary, x, images, signal, k):
        squares = (pixel.differences**2).sum(axis=1)
        best = int(squares.argmin())
        result[:, pixel.row, pixel.column] = pixel.centres[best]
        other = (pixel.centres != pixel.centres[best]).any(axis=1)
        if other.any():
            lead[pixel.row, pixel.column] = squares[other].min() - squares[best]
    return result, lead


def rounding(
    machine: str,
    boundary: str | None,
    x: Array,
    images: Array,
    level: tuple[float, float],
    k: int,
    unit: float,
    arithmetic: float = 0.0,
) -> Array:
    """Bound how far rounding can move x0hat, per channel and pixel, (C, H, W).

    Each number of x and of the images is off by a factor 1 + delta, |delta| <= `unit`. With
    d_j = x_j - a c_j and h_j = unit (|x_j| + a |c_j|), d_j moves by at most h_j, its square by at most
    2 |d_j| h_j + h_j^2, and so the logit of candidate c, to all orders, by at most

        e_c = sum_j (|d_j| h_j + h_j^2 / 2) / s^2.

    `arithmetic` adds a relative error of the finished logit, arithmetic |logit_c|: summing n terms in a
    precision of unit roundoff u costs about n u.

    Let K be the candidates with logit_c + e_c >= max_b (logit_b - e_b) - T. Before as after the rounding,
    any candidate outside K lies more than T below the largest logit, so that all M of them together weigh
    under M exp(-T) and move a mean of values in a range R by under M exp(-T) R; with T = 45 this is nothing
    (1e-17 for M = 245), and only K counts. Let eta = max e_c over K. The mean sum_c w_c v_c turns into
    sum_c w_c exp(delta_c) v_c / sum_c w_c exp(delta_c), |delta_c| <= eta. Its change is linear in each v_c,
    so it is largest with each v_c at the lowest or the highest value in K, R_K apart: R_K times the change
    of the mass P of a subset. The odds of P change by at most exp(2 eta), and the change of P is largest
    when they go from exp(-eta) to exp(eta): (1 + exp(-eta))^-1 - (1 + exp(eta))^-1 = tanh(eta / 2). Hence

        R_K tanh(eta / 2)       (+ unit |v|, the rounding of the centre values themselves).
    """
    signal, noise = level
    result = np.empty_like(x)
    wraps = boundary in ("circular", "valid")
    for pixel in pixels(machine, boundary, x, images, signal, k):
        whole = machine in ("is", "es")
        target = (x if whole else window(x, pixel.row, pixel.column, k, wraps)).ravel()
        moved = unit * (np.abs(target) + signal * np.abs(pixel.patches))
        logits = pixel.logits(noise)
        errors = (np.abs(pixel.differences) * moved + moved**2 / 2).sum(axis=1) / noise**2
        errors += arithmetic * np.abs(logits)
        kept = logits + errors >= (logits - errors).max() - 45
        span = np.ptp(pixel.centres[kept], axis=0)
        largest = np.abs(pixel.centres).max(axis=0)
        result[:, pixel.row, pixel.column] = span * np.tanh(errors[kept].max() / 2) + unit * largest
    return result
