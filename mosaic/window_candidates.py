"""Windows as candidates: LS (eqs. 7-8) and ELS (eqs. 9-10, app. B.2), streamed into one `Posterior`.

    aligned_windows      LS     for pixel p the window at the same p of every training image
    equivariant_windows  ELS    every training window that hangs over the border as p's does

Nothing here has gradients. Memory does not grow with the training set: it is cut into tiles, by shapes only.

References: Kamb & Ganguli 2025 (arXiv 2412.20292), equation numbers as above.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mosaic.arithmetic import accumulator_dtype, choose_arithmetic, largest_magnitude
from mosaic.comparison import Comparison, over_bands
from mosaic.compiled import compiled_windows, unsupported
from mosaic.compiler import kernel_build
from mosaic.compute import DEFAULT, Compute, check_input, log_weights_of
from mosaic.convolved import convolved_band, full_precision
from mosaic.errors import UsageError
from mosaic.posterior import BITS, Posterior, energy_of, weights_of
from mosaic.reference import reference_band
from mosaic.schedule import Level
from mosaic.stream import stream
from mosaic.windows import window_axis, window_sums

__all__ = ["aligned_windows", "chosen_engine", "engine_of", "equivariant_windows"]


@torch.no_grad()
def aligned_windows(
    x: Tensor,
    images: Tensor,
    level: Level,
    k: int,
    boundary: str = "zeros",
    *,
    weights: Tensor | None = None,
    values: Tensor | None = None,
    compute: Compute = DEFAULT,
) -> Posterior:
    """Local score: a posterior a pixel, over the windows at the same place (eqs. 7-8).

    Parameters
    ----------
    x, images, level
        As for `whole_images`.
    k : int
        Odd window size, 1 <= k.
    boundary : {"zeros", "circular"}
        What a window sees beyond the border: nothing (differences there count 0), or the other side.
    weights : Tensor (N, H, W), positive, optional
        How many times the window about each pixel counts; once by default.
    values : Tensor (N, V, H, W), floating point, optional
        What is averaged, of each window by its centre, in place of the images' pixels: the mean is (B, V, H, W). The
        compiled engine averages pixels only.
    compute : Compute
        Engine, diagnostics and memory.

    Raises
    ------
    UsageError
        If k, the boundary, the engine, the weights or the values cannot be used.
    """
    comparison = _comparison(x, images, level, (k, boundary), (weights, values), compute, aligned=True)
    engine = _engine(comparison)
    if engine == "compiled":
        return compiled_windows(comparison)
    if engine == "reference":
        return over_bands(comparison, reference_band)
    return _boxes(comparison, k, boundary)


def _boxes(comparison: Comparison, k: int, boundary: str) -> Posterior:
    """LS with torch: sums over windows are box filters, so the cost hardly depends on k."""
    x, level, how = comparison.x, comparison.level, comparison.arithmetic
    height, width = x.shape[2:]
    noisy = x.to(how.dtype)[:, None]
    wide, a, s = accumulator_dtype(x.device), level.signal, level.noise

    def part(first: int, images: Tensor) -> Posterior:
        tile = images.to(how.dtype)
        if how.expanded:
            terms = torch.sub(noisy, tile, alpha=a / 2).mul_(tile).mul_(BITS * a / s**2)
        else:
            terms = torch.sub(noisy, tile, alpha=a).square_().mul_(-BITS / (2 * s**2))
        logits = window_sums(window_sums(terms.sum(2), 2, k, boundary), 3, k, boundary)
        if comparison.log_weights is not None:
            logits += comparison.log_weights[first : first + len(tile)]
        maximum = logits.amax(1)
        best = logits.argmax(1) if comparison.compute.diagnostics else None
        weights = weights_of(logits, maximum[:, None], x.dtype)
        values = comparison.values[first : first + len(tile)].to(x.dtype)
        weighted = torch.stack([(weights * value).sum(1) for value in values.unbind(1)], dim=1)
        found = Posterior(maximum.to(wide), weights.sum(1).to(wide), weighted.to(wide))
        if best is not None:
            found.energy = energy_of(weights, 1)
            places = torch.arange(height * width, device=x.device).view(height, width)
            found.source = (best + first) * (height * width) + places
        return found

    with full_precision():
        return stream(comparison.images, max(1, comparison.tile // x.numel()), part, comparison.compute.workers)


@torch.no_grad()
def equivariant_windows(
    x: Tensor,
    images: Tensor,
    level: Level,
    k: int,
    boundary: str = "zeros",
    *,
    weights: Tensor | None = None,
    values: Tensor | None = None,
    compute: Compute = DEFAULT,
) -> Posterior:
    """Equivariant local score: a posterior a pixel, over windows from everywhere (eqs. 9-10, app. B.2).

    Parameters
    ----------
    x, images, level, weights, values, compute
        As for `aligned_windows`.
    k : int
        Odd window size, 1 <= k; for `valid` k <= min(H, W).
    boundary : {"zeros", "circular", "valid"}
        `zeros`: a candidate must hang over the border exactly as the pixel's window does; `circular`: windows
        wrap; `valid`: the noisy image wraps, candidates lie wholly inside the training images.

    Raises
    ------
    UsageError
        If k, the boundary, the engine, the weights or the values cannot be used.
    """
    comparison = _comparison(x, images, level, (k, boundary), (weights, values), compute, aligned=False)
    engine = _engine(comparison)
    if engine == "compiled":
        return compiled_windows(comparison)
    if engine == "reference":
        return over_bands(comparison, reference_band)
    # A corner pixel of `zeros` meets only its own place: the local machine, cheaper for all corners at once.
    corners = _boxes(comparison, k, boundary) if boundary == "zeros" and k > 1 else None
    return over_bands(comparison, convolved_band, corners)


def _comparison(
    x: Tensor,
    images: Tensor,
    level: Level,
    windows: tuple[int, str],
    given: tuple[Tensor | None, Tensor | None],
    compute: Compute,
    *,
    aligned: bool,
) -> Comparison:
    check_input(x, images, level)
    channels, height, width = x.shape[1:]
    (k, boundary), inside = windows, windows[0] ** 2
    rows, cols = (window_axis(size, k, boundary, aligned=aligned) for size in (height, width))
    pixels = channels * (inside if boundary == "circular" else min(inside, height * width))
    how = choose_arithmetic(x, level, pixels, largest_magnitude(images))
    weights, values = given
    log_weights = log_weights_of(weights, len(images), height, width)
    return Comparison(x, images, level, rows, cols, log_weights, _values(values, images), how, compute)


def _values(values: Tensor | None, images: Tensor) -> Tensor:
    """What is averaged: the images, or values of as many windows."""
    if values is None:
        return images
    count, _, height, width = images.shape
    if values.ndim != 4 or (len(values), *values.shape[2:]) != (count, height, width) or values.shape[1] == 0:
        raise UsageError(f"values must have shape ({count}, V, {height}, {width}), not {tuple(values.shape)}.")
    if not values.is_floating_point() or values.device != images.device:
        raise UsageError(f"values must be floating point on {images.device}, not {values.dtype} on {values.device}.")
    return values


def _engine(comparison: Comparison) -> str:
    """Engine of a comparison: what was asked for, but where products are too inexact the reference."""
    asked = comparison.compute.engine
    if comparison.values is not comparison.images:
        if asked == "compiled":
            raise UsageError("The compiled engine averages pixels, not other values; use engine 'auto' or 'torch'.")
        asked = "torch" if asked == "auto" else asked
    engine = chosen_engine(asked, comparison.x, comparison.images)
    return engine if comparison.arithmetic.expanded else "reference"


def chosen_engine(engine: str, x: Tensor, images: Tensor) -> str:
    """Choose the engine; `auto` is the compiled kernel where it can serve, else torch."""
    if engine in ("torch", "reference"):
        return engine
    reason = unsupported(x, images)
    if reason is not None and engine == "compiled":
        raise UsageError(f"The compiled engine cannot be used here: {reason}; use engine 'auto' or 'torch'.")
    return "compiled" if reason is None else "torch"


def engine_of(engine: str, images: Tensor, dtype: torch.dtype) -> str:
    """Name the engine that windows in `dtype` are compared by with these images, down to the kernel's build."""
    chosen = chosen_engine(engine, images[:1].to(dtype), images)
    return f"compiled {kernel_build()}" if chosen == "compiled" else chosen
