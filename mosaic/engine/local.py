"""Windows as candidates: LS (eqs. 7-8) and ELS (eqs. 9-10, app. B.2), streamed into one `Posterior`.

    local_posterior              LS   for pixel p the window at the same p of every training image
    equivariant_local_posterior  ELS  every training window that hangs over the border as p's does

Nothing here has gradients. Memory does not grow with the training set: it is cut into blocks, by shapes only.

References: Kamb & Ganguli 2025 (arXiv 2412.20292), equation numbers as above.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mosaic.device import accumulator_dtype, standard_torch
from mosaic.engine.compiled import compiled_windows, unsupported
from mosaic.engine.compute import DEFAULT, Compute, check_input, log_weights_of
from mosaic.engine.convolved import convolved_band
from mosaic.engine.distribute import in_shards
from mosaic.engine.posterior import BITS, Posterior, energy_of, squares_of, weights_of
from mosaic.engine.precision import choose_arithmetic, largest_magnitude
from mosaic.engine.reference import reference_band
from mosaic.engine.stream import merged, stream
from mosaic.engine.window_problem import BandEngine, Values, WindowProblem, over_bands
from mosaic.engine.windows import Profile, profiles_of, window_axis, window_sums
from mosaic.errors import UsageError
from mosaic.interfaces.images import Images
from mosaic.interfaces.schedule import Level

__all__ = [
    "chosen_engine",
    "engine_of",
    "equivariant_local_posterior",
    "from_everywhere",
    "local_posterior",
    "window_problem",
]


@in_shards
@standard_torch()
@torch.no_grad()
def local_posterior(
    x: Tensor,
    images: Images,
    level: Level,
    k: int,
    boundary: str = "zeros",
    *,
    weights: Tensor | None = None,
    values: Tensor | Values | None = None,
    profile: Profile | None = None,
    compute: Compute = DEFAULT,
) -> Posterior:
    """Local score: a posterior a pixel, over the windows at the same place (eqs. 7-8).

    Parameters
    ----------
    x : Tensor (B, C, H, W)
        Noisy images x = a x_0 + s eps.
    images : Tensor or ImageSource (N, C, H, W)
        Training images.
    level : Level
        Signal a and noise s > 0 of x.
    k : int
        Odd window size, 1 <= k.
    boundary : {"zeros", "circular"}
        What a window sees beyond the border: nothing (differences there count 0), or the other side.
    weights : Tensor (N, H, W), positive, optional
        How many times the window about each pixel counts; once by default.
    values : Tensor (N, V, H, W), floating point, or callable, optional
        Values at the windows' centres that are averaged in place of the images' pixels: the mean is (B, V, H, W). The
        compiled engine averages pixels only. `values(images, rows, cols)` gives (n, V, rows, cols) of a block of
        images, at these ranges of rows and columns, where values of all images would be too many to hold.
    profile : sequence of k floats, or pair of sequences, optional
        Weights g of a soft window, positive: the squared difference at row u and column v of a window counts g_u g_v
        times; of a pair g, h it counts g_u h_v times. All count once by default.
    compute : Compute
        Engine, diagnostics and memory.

    Raises
    ------
    UsageError
        If k, the boundary, the engine, the profile, the weights or the values cannot be used.
    """
    problem = window_problem(
        x, images, level, k, boundary, weights=weights, values=values, profile=profile, compute=compute, aligned=True
    )
    engine = _engine(problem)
    if engine == "compiled":
        return compiled_windows(problem)
    if engine == "reference":
        return _banded(problem, reference_band)
    return _boxes(problem, k, boundary)


def _boxes(problem: WindowProblem, k: int, boundary: str) -> Posterior:
    """LS with torch: sums over windows are box filters, so the cost hardly depends on k."""
    x, level, how = problem.x, problem.level, problem.arithmetic
    height, width = x.shape[2:]
    noisy = x.to(how.dtype)[:, None]
    wide, a, s = accumulator_dtype(x.device), level.signal, level.noise

    def part(first: int, images: Tensor) -> Posterior:
        block = images.to(how.dtype)
        if how.expanded:
            terms = torch.sub(noisy, block, alpha=a / 2).mul_(block).mul_(BITS * a / s**2)
        else:
            terms = torch.sub(noisy, block, alpha=a).square_().mul_(-BITS / (2 * s**2))
        logits = terms.sum(2)
        for dim, axis in ((2, problem.rows), (3, problem.cols)):
            logits = window_sums(logits, dim, k, boundary, axis.profile)
        if problem.log_weights is not None:
            logits += problem.log_weights[first : first + len(block)]
        maximum = logits.amax(1)
        best = logits.argmax(1) if problem.compute.diagnostics else None
        weights = weights_of(logits, maximum[:, None], x.dtype)
        values = problem.values_at(first, images, range(height), range(width)).to(x.dtype)
        weighted = torch.stack([(weights * value).sum(1) for value in values.unbind(1)], dim=1)
        posterior = Posterior(maximum.to(wide), weights.sum(1).to(wide), weighted.to(wide))
        if best is not None:
            posterior.energy = energy_of(weights, 1)
            places = torch.arange(height * width, device=x.device, dtype=torch.int64).view(height, width)
            posterior.source = (best + first) * (height * width) + places
        if problem.compute.moments:
            own = weights[:, :, None].to(wide)
            posterior.squares = (
                squares_of(torch.cat([own, own * values.to(wide)], 2).movedim(2, -1)).sum(1).movedim(-1, 1)
            )
        return posterior

    return stream(problem.images, max(1, problem.block // x.numel()), part, problem.compute.shards)


@in_shards
@standard_torch()
@torch.no_grad()
def equivariant_local_posterior(
    x: Tensor,
    images: Images,
    level: Level,
    k: int,
    boundary: str = "zeros",
    *,
    weights: Tensor | None = None,
    values: Tensor | Values | None = None,
    profile: Profile | None = None,
    border: int | None = None,
    compute: Compute = DEFAULT,
) -> Posterior:
    """Equivariant local score: a posterior a pixel, over windows from everywhere (eqs. 9-10, app. B.2).

    Parameters
    ----------
    x, images, level, weights, values, profile, compute
        As for `local_posterior`.
    k : int
        Odd window size, 1 <= k; for `valid` k <= min(H, W).
    boundary : {"zeros", "circular", "valid"}
        `zeros`: a candidate must hang over the border exactly as the pixel's window does; `circular`: windows
        wrap; `valid`: the noisy image wraps, candidates lie wholly inside the training images.
    border : int, optional
        For `zeros`, how near to the border a pixel's candidates must hang over alike: by default k // 2, all whose
        windows hang over. With less, the windows of the other pixels hold zeros beyond the border.

    Raises
    ------
    UsageError
        If k, the boundary, the engine, the profile, the weights or the values cannot be used.
    """
    problem = window_problem(
        x,
        images,
        level,
        k,
        boundary,
        weights=weights,
        values=values,
        profile=profile,
        border=border,
        compute=compute,
        aligned=False,
    )
    return from_everywhere(problem, k, boundary)


def from_everywhere(problem: WindowProblem, k: int, boundary: str) -> Posterior:
    """Compare windows from everywhere, by the engine of the problem."""
    engine = _engine(problem)
    if engine == "compiled":
        return compiled_windows(problem)
    if engine == "reference":
        return _banded(problem, reference_band)
    # With `zeros`, a corner pixel has candidates at its own place only, as in LS. Box sums do all corners at once.
    has_corners = boundary == "zeros" and k > 1
    return _banded(problem, convolved_band, lambda shard: _boxes(shard, k, boundary) if has_corners else None)


def _banded(
    problem: WindowProblem,
    engine: BandEngine,
    corners: Callable[[WindowProblem], Posterior | None] = lambda shard: None,
) -> Posterior:
    """Compare band by band. Shards are merged as whole images: torch rounds 2^x by how many numbers it is given."""
    return merged(over_bands(shard, engine, corners(shard)) for shard in problem.by_shard())


def window_problem(
    x: Tensor,
    images: Images,
    level: Level,
    k: int,
    boundary: str,
    *,
    weights: Tensor | None,
    values: Tensor | Values | None,
    profile: Profile | None,
    border: int | None = None,
    compute: Compute,
    aligned: bool,
) -> WindowProblem:
    """Check the arguments of this module's functions, and put them together; `aligned` for LS."""
    check_input(x, images, level)
    channels, height, width = x.shape[1:]
    rows, cols = (
        window_axis(size, k, boundary, aligned=aligned, profile=each, border=border)
        for size, each in zip((height, width), profiles_of(profile), strict=True)
    )
    pixels: float = channels * (k**2 if boundary == "circular" else min(k**2, height * width))
    if rows.profile is not None and cols.profile is not None:  # what counts less is rounded by less
        most, total = (count(rows.profile) * count(cols.profile) for count in (max, sum))
        pixels = min(pixels * most, channels * total)
    how = choose_arithmetic(x, level, pixels, largest_magnitude(images))
    log_weights = log_weights_of(weights, len(images), height, width)
    return WindowProblem(x, images, level, rows, cols, log_weights, _values(values, images), how, compute)


def _values(values: Tensor | Values | None, images: Images) -> Images | Values:
    """Check the values to average; by default the images themselves."""
    if values is None:
        return images
    if not isinstance(values, Tensor):
        return values
    count, _, height, width = images.shape
    if values.ndim != 4 or (len(values), *values.shape[2:]) != (count, height, width) or values.shape[1] == 0:
        raise UsageError(f"values must have shape ({count}, V, {height}, {width}), not {tuple(values.shape)}.")
    if not values.is_floating_point() or values.device != images.device:
        raise UsageError(f"values must be floating point on {images.device}, not {values.dtype} on {values.device}.")
    return values


def _engine(problem: WindowProblem) -> str:
    """Choose the engine of a problem: the one asked for, or the reference where products are too inexact."""
    asked = problem.compute.engine
    if problem.values is not problem.images:
        if asked == "compiled":
            raise UsageError("The compiled engine averages pixels, not other values; use engine 'auto' or 'torch'.")
        asked = "torch" if asked == "auto" else asked
    engine = chosen_engine(asked, problem.x, problem.images)
    return engine if problem.arithmetic.expanded else "reference"


def chosen_engine(engine: str, x: Tensor, images: Images) -> str:
    """Choose the engine; `auto` is the compiled kernel where it can be used, else torch."""
    if engine in ("torch", "reference"):
        return engine
    reason = unsupported(x, images)
    if reason is not None and engine == "compiled":
        raise UsageError(f"The compiled engine cannot be used here: {reason}; use engine 'auto' or 'torch'.")
    return "compiled" if reason is None else "torch"


def engine_of(engine: str, images: Images, dtype: torch.dtype) -> str:
    """Name the engine that windows in `dtype` are compared by with these images: compiled, torch or reference.

    Raises
    ------
    UsageError
        If the compiled engine is asked for and cannot be used.
    """
    return chosen_engine(engine, images[:1].to(dtype), images)
