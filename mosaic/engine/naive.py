"""The equivariant local score (ELS) on one page, to be read beside the paper.

For each pixel p, with its window x_p of k x k pixels, and every training window c that may be compared with it
(Kamb & Ganguli 2025, eqs. 9-10; boundary `zeros`: sec. 3.4 and app. B.2),

    x0hat(p) = sum_c softmax_c( -|x_p - a c|^2 / (2 s^2) ) centre(c).

All windows are cut out and held at once, so it works for small training sets only. The engines compute the same without
holding them. The doctor and the quick tests compare the engines with this page, and the benchmarks time it beside them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import unfold

from mosaic.interfaces.schedule import Level

__all__ = ["naive_els"]


def naive_els(
    x: Tensor, images: Tensor, level: Level, k: int, boundary: str = "zeros", *, product: bool = False
) -> Tensor:
    """Posterior mean x0hat (B, C, H, W) of noisy images x (B, C, H, W) over the windows of images (N, C, H, W).

    Parameters
    ----------
    level : Level
        Signal a and noise s > 0 of x.
    k : int
        Odd window size.
    boundary : {"zeros", "circular", "valid"}
        `zeros`: a pixel's window is compared with the training windows that hang over the border as it does;
        `circular`: with all, and windows wrap; `valid`: a wrapping window, with those that lie inside their image.
    product : bool
        Evaluate |x_p - a c|^2 by one matrix product, which is fast but loses digits by cancellation at small s.
    """
    a, s = level.signal, level.noise
    queries, keys = _windows(x, k, boundary != "zeros"), _windows(images, k, boundary == "circular")
    centres, x0hat = images.flatten(2).mT, torch.empty_like(x).flatten(2).mT  # (n, H W, C)
    for pixels, candidates in _window_groups(x, k, boundary):
        x_p, a_c = queries[:, pixels].flatten(0, 1), a * keys[:, candidates].flatten(0, 1)
        mode = "use_mm_for_euclid_dist" if product else "donot_use_mm_for_euclid_dist"
        logits = torch.cdist(x_p, a_c, compute_mode=mode).square() / (-2 * s**2)
        means = logits.softmax(1) @ centres[:, candidates].flatten(0, 1)  # eqs. 9-10
        x0hat[:, pixels] = means.unflatten(0, (len(x), -1))
    return x0hat.mT.reshape(x.shape)


def _windows(images: Tensor, k: int, wraps: bool) -> Tensor:
    """Cut out the k x k window about every pixel of images (n, C, H, W): (n, H W, C k^2), zeros beyond the border."""
    if not wraps:
        return unfold(images, k, padding=k // 2).mT
    beyond = (torch.arange(-(k // 2), n + k // 2, dtype=torch.int64, device=images.device) for n in images.shape[2:])
    rows, cols = (places % n for places, n in zip(beyond, images.shape[2:], strict=True))
    return unfold(images[:, :, rows[:, None], cols], k).mT


def _window_groups(x: Tensor, k: int, boundary: str) -> list[tuple[Tensor, Tensor]]:
    """Groups of pixels with the centres of the windows they are compared with, numbered row by row (app. B.2)."""
    height, width = x.shape[2:]
    axes = (torch.arange(n, dtype=torch.int64, device=x.device) for n in (height, width))
    rows, cols = (
        torch.stack([(k // 2 - i).clamp(min=0), (i + k // 2 - i.max()).clamp(min=0)])  # pixels beyond either end
        for i in axes
    )
    over = torch.cat([rows[:, :, None].expand(-1, -1, width), cols[:, None].expand(-1, height, -1)]).flatten(1)
    pixels = torch.arange(height * width, device=x.device, dtype=torch.int64)
    if boundary == "zeros":
        _, kinds = over.unique(dim=1, return_inverse=True)
        groups = [pixels[kinds == kind] for kind in kinds.unique()]
        return [(group, group) for group in groups]
    return [(pixels, pixels[(over == 0).all(0)] if boundary == "valid" else pixels)]
