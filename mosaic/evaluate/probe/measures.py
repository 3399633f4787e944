"""What a Jacobian says of a score, and how far a score follows shifts.

A matrix is (D, D), float64: a d x0hat / d x = d x0hat / d (x / a), a row for each pixel of x0hat. Its eigenvalues say
how much of a direction of x is kept in x0hat: of the Gaussian's Wiener filter l / (l + s^2 / a^2), from 0 of noise to 1
of signal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["VANISHES", "cosine", "curl", "effective_rank", "eigenbasis", "equivariance_errors", "seeded_shifts"]

VANISHES = 1e-6  # Frobenius norm, below which a matrix is rounding errors: x0hat does not depend on x


def curl(matrix: Tensor) -> float:
    """Share of a matrix that is not the derivative of a gradient: |A|_F / |J|_F in [0, 1], A = (J - J^T) / 2.

    As |J|^2 = |A|^2 + |S|^2, S the symmetric part, it is 0 of a symmetric matrix, and 1 of an antisymmetric one. A
    score is the gradient of a log density only where it is 0. NaN where the matrix vanishes.
    """
    norm = float(matrix.norm())
    return math.nan if norm < VANISHES else float((matrix - matrix.T).norm()) / (2 * norm)


def eigenbasis(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (D,) of the symmetric part, falling, and its eigenvectors (D, D), one in each row.

    An eigenvector's entries add up to 0 or more, which decides its sign.

    References: Kadkhodaie, Guth, Simoncelli & Mallat 2024 (Generalization in diffusion models arises from
    geometry-adaptive harmonic representations, arXiv 2310.02557).
    """
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    rows = vectors.T.flip(0)
    return values.flip(0), torch.where(rows.sum(1, keepdim=True) < 0, -rows, rows)


def effective_rank(values: Tensor) -> float:
    """Number of eigenvalues that matter: (sum |l|)^2 / sum l^2, from 1 to D; NaN where all vanish."""
    norm = float(values.norm())
    return math.nan if norm < VANISHES else (float(values.abs().sum()) / norm) ** 2


def cosine(matrix: Tensor, other: Tensor) -> float:
    """Similarity of two matrices: <J, K>_F / |J|_F |K|_F, in [-1, 1]; NaN where one vanishes."""
    norms = float(matrix.norm()), float(other.norm())
    return math.nan if min(norms) < VANISHES else float((matrix * other).sum()) / (norms[0] * norms[1])


def seeded_shifts(seed: int, count: int, height: int, width: int) -> list[tuple[int, int]]:
    """Draw `count` shifts of up to a quarter of the image's shorter side, in rows and columns, none of them 0, 0."""
    most = max(1, min(height, width) // 4)
    side = 2 * most + 1
    generator = torch.Generator(device="cpu").manual_seed(seed)
    drawn = torch.randint(side**2 - 1, (count,), generator=generator, dtype=torch.int64, device="cpu")
    places = drawn + (drawn >= side**2 // 2)  # the middle one is no shift
    return [(place // side - most, place % side - most) for place in places.tolist()]


def equivariance_errors(
    denoise: Callable[[Tensor], Tensor], x: Tensor, shifts: list[tuple[int, int]], window: int | None
) -> tuple[Tensor, Tensor]:
    """Root mean square over shifts and pixels of f(shifted x) - shifted f(x), f being `denoise`, for each sample.

    Parameters
    ----------
    denoise : callable
        Gives x0hat of x (B, C, H, W).
    x : Tensor (B, C, H, W)
        Noisy images; what is shifted out comes in at the other side.
    shifts : list of (int, int)
        By how many rows and columns.
    window : int, optional
        Side of the window about a pixel that x0hat there depends on; None for all of x.

    Returns
    -------
    Tensor (B,), Tensor (B,)
        Over all pixels; and over those whose windows do not meet the border, before or after the shift: NaN if there
        are none.
    """
    own, (height, width) = denoise(x).double(), x.shape[2:]
    whole, inner = [], []
    for shift in shifts:
        squares = (denoise(x.roll(shift, (2, 3))).double() - own.roll(shift, (2, 3))).square()
        whole.append(squares.flatten(1).mean(1))
        kept = [_inside(size, moved, window) for size, moved in zip((height, width), shift, strict=True)]
        inner.append(squares[:, :, kept[0], kept[1]].flatten(1))
    inside = torch.cat(inner, 1)
    return torch.stack(whole).mean(0).sqrt(), inside.mean(1).sqrt() if inside.shape[1] else own.new_full(
        (len(x),), math.nan
    )


def _inside(size: int, shift: int, window: int | None) -> slice:
    """Pixels of an axis whose windows lie inside it, and did before they were shifted."""
    radius = size if window is None else window // 2
    start, stop = radius + max(0, shift), size - radius + min(0, shift)
    return slice(start, max(start, stop))
